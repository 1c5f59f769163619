// CUDA's words for a host compiler, which then runs every kernel with one thread a block.
#define __global__
#define __device__
#define __shared__ static

struct Position {
    unsigned x, y;
};
static Position threadIdx = {0, 0}, blockIdx = {0, 0}, blockDim = {1, 1}, gridDim = {1, 1};

static void __syncthreads() {}

// The other threads of the warp hold nothing.
static double __shfl_down_sync(unsigned, double, int) { return 0.0; }

extern "C" void place(unsigned x, unsigned y, unsigned width, unsigned height) {
    blockIdx = {x, y};
    gridDim = {width, height};
}
