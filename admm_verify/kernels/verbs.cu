// The verbs as CUDA kernels. Kernels without sums want a grid of columns times rows and stride over whatever it leaves;
// kernels with sums a grid of rows times pieces of a row, and return the sums of every piece, [pieces, rows]: they
// stride over rows, but there are as many pieces as the grid is high. Row numbers in box are not checked. Needs nothing
// but verbs.h and loops.h, for NVRTC.
#include "verbs.h"

// The sum over the block of up to 1024 threads, right in thread 0; all threads must call it.
static __device__ inline double block_sum(double part) {
    __shared__ double warps[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, count = (blockDim.x + 31) / 32;
    for (int offset = 16; offset > 0; offset /= 2) part += __shfl_down_sync(0xffffffffu, part, offset);
    // Nobody may still be reading the last sum.
    __syncthreads();
    if (lane == 0) warps[warp] = part;
    __syncthreads();
    part = warp == 0 && lane < count ? warps[lane] : 0.0;
    if (warp == 0)
        for (int offset = 16; offset > 0; offset /= 2) part += __shfl_down_sync(0xffffffffu, part, offset);
    return part;
}

#define AV_ENTRY extern "C" __global__ void
#define AV_CALL(work) work
#define AV_INNER static __device__ inline
#define AV_RESTRICT __restrict__
#define AV_EACH_ROW for (Index r = blockIdx.y; r < rows; r += gridDim.y)
#define AV_EACH_SUMMED_ROW for (Index r = blockIdx.x; r < rows; r += gridDim.x)
#define AV_EACH \
    for (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < n; i += (Index)gridDim.x * blockDim.x)
#define AV_EACH_SUMMED \
    for (Index i = blockIdx.y * (Index)blockDim.x + threadIdx.x; i < n; i += (Index)gridDim.y * blockDim.x)
#define AV_EACH_TWICE_SUMMED AV_EACH_SUMMED
#define AV_STORE(sums, sum) \
    sum = block_sum(sum);   \
    if (threadIdx.x == 0) sums[blockIdx.y * rows + r] = T(sum)

#include "loops.h"
