// The verbs as loops over rows for one core: a C interface, av_<verb>_f32 and av_<verb>_f64, called through ctypes.
//
// Row r uses row box[r] of the bounds, [boxes, n]; box is null where there is one row. Every function returns 0, or 1
// and writes nothing where an entry of box is out of range. Sums are made in double.
#include "verbs.h"

typedef long long Index;

static bool within(const Index* box, Index boxes, Index rows) {
    bool good = true;
    for (Index r = 0; box && r < rows; ++r) good &= (box[r] >= 0) & (box[r] < boxes);
    return good;
}

static Index start(const Index* box, Index r, Index n) { return box ? box[r] * n : 0; }

// Exports the template `verb` for both types; PARAMETERS(T) is its parameter list, the rest are the arguments' names.
#define AV_EXPORT(verb, PARAMETERS, ...)                                          \
    extern "C" int av_##verb##_f32 PARAMETERS(float) { return verb(__VA_ARGS__); } \
    extern "C" int av_##verb##_f64 PARAMETERS(double) { return verb(__VA_ARGS__); }

#define IN(T) const T* __restrict
#define OUT(T) T* __restrict
#define SHAPE const Index *box, Index boxes, Index rows, Index n

#define DESCEND(T) (IN(T) a, IN(T) slopes, IN(T) chord, IN(T) intercept, SHAPE, OUT(T) g, OUT(T) value)
template <class T>
static int descend DESCEND(T) {
    if (!within(box, boxes, rows)) return 1;
    for (Index r = 0; r < rows; ++r) {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Index i = 0; i < n; ++i) {
            const T coefficient = a[at + i];
            g[at + i] = av::descend(coefficient, slopes[at + i], chord[bound + i]);
            sum += av::chord_value(coefficient, intercept[bound + i]);
        }
        value[r] = T(sum);
    }
    return 0;
}
AV_EXPORT(descend, DESCEND, a, slopes, chord, intercept, box, boxes, rows, n, g, value)

#define CLIMB(T)                                                                                              \
    (IN(T) a, IN(T) pre, IN(T) chord, IN(T) intercept, IN(T) minimum, IN(T) maximum, SHAPE, OUT(T) slopes,     \
     OUT(T) mean, OUT(T) square, double momentum, double memory, double step, double unbias, OUT(T) post)
template <class T>
static int climb CLIMB(T) {
    if (!within(box, boxes, rows)) return 1;
    const av::Adam<T> adam = {T(momentum), T(memory), T(step), T(unbias)};
    for (Index r = 0; r < rows; ++r) {
        const Index at = r * n, bound = start(box, r, n);
#pragma omp simd
        for (Index i = 0; i < n; ++i) {
            const T coefficient = a[at + i], value = pre[at + i], slope = slopes[at + i];
            T first = mean[at + i], second = square[at + i];
            post[at + i] = av::line_at(coefficient, value, slope, chord[bound + i], intercept[bound + i]);
            slopes[at + i] =
                av::climb(coefficient, value, slope, minimum[bound + i], maximum[bound + i], first, second, adam);
            mean[at + i] = first;
            square[at + i] = second;
        }
    }
    return 0;
}
AV_EXPORT(climb, CLIMB, a, pre, chord, intercept, minimum, maximum, box, boxes, rows, n, slopes, mean, square, momentum,
          memory, step, unbias, post)

#define VERTEX(T) (IN(T) coefficient, IN(T) lower, IN(T) upper, SHAPE, OUT(T) x, OUT(T) value)
template <class T>
static int vertex VERTEX(T) {
    if (!within(box, boxes, rows)) return 1;
    for (Index r = 0; r < rows; ++r) {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Index i = 0; i < n; ++i) {
            const T chosen = av::vertex(coefficient[at + i], lower[bound + i], upper[bound + i]);
            x[at + i] = chosen;
            sum += coefficient[at + i] * chosen;
        }
        value[r] = T(sum);
    }
    return 0;
}
AV_EXPORT(vertex, VERTEX, coefficient, lower, upper, box, boxes, rows, n, x, value)

#define SUPPORT(T) \
    (IN(T) post_weight, IN(T) pre_weight, IN(T) lower, IN(T) upper, SHAPE, OUT(T) value, OUT(T) reach)
template <class T>
static int support_triangle SUPPORT(T) {
    if (!within(box, boxes, rows)) return 1;
    for (Index r = 0; r < rows; ++r) {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0, scale = 0;
#pragma omp simd reduction(+ : sum, scale)
        for (Index i = 0; i < n; ++i) {
            const T low = lower[bound + i], high = upper[bound + i], weight = pre_weight[at + i];
            sum += av::support_triangle(low, high, post_weight[at + i], weight);
            scale += av::reach(low, high, weight);
        }
        value[r] = T(sum);
        reach[r] = T(scale);
    }
    return 0;
}
AV_EXPORT(support_triangle, SUPPORT, post_weight, pre_weight, lower, upper, box, boxes, rows, n, value, reach)

#define PROJECT(T) (IN(T) pre, IN(T) post, IN(T) lower, IN(T) upper, SHAPE, OUT(T) p, OUT(T) q)
template <class T>
static int project_triangle PROJECT(T) {
    if (!within(box, boxes, rows)) return 1;
    for (Index r = 0; r < rows; ++r) {
        const Index at = r * n, bound = start(box, r, n);
#pragma omp simd
        for (Index i = 0; i < n; ++i) {
            const av::Pair<T> point =
                av::project_triangle(lower[bound + i], upper[bound + i], pre[at + i], post[at + i]);
            p[at + i] = point.p;
            q[at + i] = point.q;
        }
    }
    return 0;
}
AV_EXPORT(project_triangle, PROJECT, pre, post, lower, upper, box, boxes, rows, n, p, q)

#define REFLECT(T) \
    (IN(T) sums, IN(T) edge, IN(T) lower, IN(T) upper, SHAPE, IN(T) bias, OUT(T) reflected_sums, OUT(T) reflected_edge)
template <class T>
static int reflect_triangle REFLECT(T) {
    if (!within(box, boxes, rows)) return 1;
    for (Index r = 0; r < rows; ++r) {
        const Index at = r * n, bound = start(box, r, n);
#pragma omp simd
        for (Index i = 0; i < n; ++i) {
            const av::Pair<T> point =
                av::reflect_triangle(sums[at + i], edge[at + i], bias[i], lower[bound + i], upper[bound + i]);
            reflected_sums[at + i] = point.p;
            reflected_edge[at + i] = point.q;
        }
    }
    return 0;
}
AV_EXPORT(reflect_triangle, REFLECT, sums, edge, lower, upper, box, boxes, rows, n, bias, reflected_sums,
          reflected_edge)

#define HALPERN(T) \
    (IN(T) u, IN(T) reflected, IN(T) z, IN(T) anchor, SHAPE, IN(T) since, OUT(T) moved, OUT(T) square)
template <class T>
static int halpern HALPERN(T) {
    if (!within(box, boxes, rows)) return 1;
    for (Index r = 0; r < rows; ++r) {
        const Index at = r * n;
        const T share = T(1) / (since[r] + T(2)), pull = (since[r] + T(1)) / (since[r] + T(2));
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Index i = 0; i < n; ++i) {
            const T move = av::residual(u[at + i], reflected[at + i], z[at + i]);
            moved[at + i] = av::halpern(u[at + i], reflected[at + i], anchor[at + i], share, pull);
            sum += move * move;
        }
        square[r] = T(sum);
    }
    return 0;
}
AV_EXPORT(halpern, HALPERN, u, reflected, z, anchor, box, boxes, rows, n, since, moved, square)
