// The verbs as CUDA kernels, av_<verb>_f32 and av_<verb>_f64, with the arguments of native.cpp's functions.
//
// Kernels without sums want a grid of columns times rows; kernels with sums one block per row, and add in double. Both
// stride over whatever the grid leaves. Row numbers in box are not checked. Needs nothing but verbs.h, for NVRTC.
#include "verbs.h"

typedef long long Index;

static __device__ inline Index start(const Index* box, Index r, Index n) { return box ? box[r] * n : 0; }

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

#define EACH_ROW for (Index r = blockIdx.x; r < rows; r += gridDim.x)
#define EACH_OF_ROW for (Index i = threadIdx.x; i < n; i += blockDim.x)
#define EACH_ROW_OF_GRID for (Index r = blockIdx.y; r < rows; r += gridDim.y)
#define EACH_COLUMN_OF_GRID \
    for (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < n; i += (Index)gridDim.x * blockDim.x)

// Exports the template `verb` for both types; PARAMETERS(T) is its parameter list, the rest are the arguments' names.
#define AV_EXPORT(verb, PARAMETERS, ...)                                              \
    extern "C" __global__ void av_##verb##_f32 PARAMETERS(float) { verb(__VA_ARGS__); } \
    extern "C" __global__ void av_##verb##_f64 PARAMETERS(double) { verb(__VA_ARGS__); }

#define IN(T) const T* __restrict__
#define OUT(T) T* __restrict__
#define SHAPE const Index *box, Index boxes, Index rows, Index n

#define DESCEND(T) (IN(T) a, IN(T) slopes, IN(T) chord, IN(T) intercept, SHAPE, OUT(T) g, OUT(T) value)
template <class T>
static __device__ void descend DESCEND(T) {
    EACH_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0;
        EACH_OF_ROW {
            const T coefficient = a[at + i];
            g[at + i] = av::descend(coefficient, slopes[at + i], chord[bound + i]);
            sum += av::chord_value(coefficient, intercept[bound + i]);
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) value[r] = T(sum);
    }
}
AV_EXPORT(descend, DESCEND, a, slopes, chord, intercept, box, boxes, rows, n, g, value)

#define CLIMB(T)                                                                                          \
    (IN(T) a, IN(T) pre, IN(T) chord, IN(T) intercept, IN(T) minimum, IN(T) maximum, SHAPE, OUT(T) slopes, \
     OUT(T) mean, OUT(T) square, double momentum, double memory, double step, double unbias, OUT(T) post)
template <class T>
static __device__ void climb CLIMB(T) {
    const av::Adam<T> adam = {T(momentum), T(memory), T(step), T(unbias)};
    EACH_ROW_OF_GRID {
        const Index at = r * n, bound = start(box, r, n);
        EACH_COLUMN_OF_GRID {
            const T coefficient = a[at + i], value = pre[at + i], slope = slopes[at + i];
            T first = mean[at + i], second = square[at + i];
            post[at + i] = av::line_at(coefficient, value, slope, chord[bound + i], intercept[bound + i]);
            slopes[at + i] =
                av::climb(coefficient, value, slope, minimum[bound + i], maximum[bound + i], first, second, adam);
            mean[at + i] = first;
            square[at + i] = second;
        }
    }
}
AV_EXPORT(climb, CLIMB, a, pre, chord, intercept, minimum, maximum, box, boxes, rows, n, slopes, mean, square, momentum,
          memory, step, unbias, post)

#define VERTEX(T) (IN(T) coefficient, IN(T) lower, IN(T) upper, SHAPE, OUT(T) x, OUT(T) value)
template <class T>
static __device__ void vertex VERTEX(T) {
    EACH_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0;
        EACH_OF_ROW {
            const T chosen = av::vertex(coefficient[at + i], lower[bound + i], upper[bound + i]);
            x[at + i] = chosen;
            sum += coefficient[at + i] * chosen;
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) value[r] = T(sum);
    }
}
AV_EXPORT(vertex, VERTEX, coefficient, lower, upper, box, boxes, rows, n, x, value)

#define SUPPORT(T) \
    (IN(T) post_weight, IN(T) pre_weight, IN(T) lower, IN(T) upper, SHAPE, OUT(T) value, OUT(T) reach)
template <class T>
static __device__ void support_triangle SUPPORT(T) {
    EACH_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0, scale = 0;
        EACH_OF_ROW {
            const T low = lower[bound + i], high = upper[bound + i], weight = pre_weight[at + i];
            sum += av::support_triangle(low, high, post_weight[at + i], weight);
            scale += av::reach(low, high, weight);
        }
        sum = block_sum(sum);
        scale = block_sum(scale);
        if (threadIdx.x == 0) {
            value[r] = T(sum);
            reach[r] = T(scale);
        }
    }
}
AV_EXPORT(support_triangle, SUPPORT, post_weight, pre_weight, lower, upper, box, boxes, rows, n, value, reach)

#define PROJECT(T) (IN(T) pre, IN(T) post, IN(T) lower, IN(T) upper, SHAPE, OUT(T) p, OUT(T) q)
template <class T>
static __device__ void project_triangle PROJECT(T) {
    EACH_ROW_OF_GRID {
        const Index at = r * n, bound = start(box, r, n);
        EACH_COLUMN_OF_GRID {
            const av::Pair<T> point =
                av::project_triangle(lower[bound + i], upper[bound + i], pre[at + i], post[at + i]);
            p[at + i] = point.p;
            q[at + i] = point.q;
        }
    }
}
AV_EXPORT(project_triangle, PROJECT, pre, post, lower, upper, box, boxes, rows, n, p, q)

#define REFLECT(T) \
    (IN(T) sums, IN(T) edge, IN(T) lower, IN(T) upper, SHAPE, IN(T) bias, OUT(T) reflected_sums, OUT(T) reflected_edge)
template <class T>
static __device__ void reflect_triangle REFLECT(T) {
    EACH_ROW_OF_GRID {
        const Index at = r * n, bound = start(box, r, n);
        EACH_COLUMN_OF_GRID {
            const av::Pair<T> point =
                av::reflect_triangle(sums[at + i], edge[at + i], bias[i], lower[bound + i], upper[bound + i]);
            reflected_sums[at + i] = point.p;
            reflected_edge[at + i] = point.q;
        }
    }
}
AV_EXPORT(reflect_triangle, REFLECT, sums, edge, lower, upper, box, boxes, rows, n, bias, reflected_sums,
          reflected_edge)

#define HALPERN(T) \
    (IN(T) u, IN(T) reflected, IN(T) z, IN(T) anchor, SHAPE, IN(T) since, OUT(T) moved, OUT(T) square)
template <class T>
static __device__ void halpern HALPERN(T) {
    EACH_ROW {
        const Index at = r * n;
        const T share = T(1) / (since[r] + T(2)), pull = (since[r] + T(1)) / (since[r] + T(2));
        double sum = 0;
        EACH_OF_ROW {
            const T move = av::residual(u[at + i], reflected[at + i], z[at + i]);
            moved[at + i] = av::halpern(u[at + i], reflected[at + i], anchor[at + i], share, pull);
            sum += move * move;
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) square[r] = T(sum);
    }
}
AV_EXPORT(halpern, HALPERN, u, reflected, z, anchor, box, boxes, rows, n, since, moved, square)
