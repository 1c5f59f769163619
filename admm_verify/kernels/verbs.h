// The formulas of the verbs for one element, written once for the native library and for CUDA; T is float or double.
//
// Comparisons are written so that NaN wins as it does in the array version: raised and lowered, a single instruction
// each, keep NaN of x but not of the bound. Nothing is included, since NVRTC has no standard library.
#ifndef ADMM_VERIFY_VERBS_H
#define ADMM_VERIFY_VERBS_H

#ifdef __CUDACC__
#define AV_HD __host__ __device__ inline
#else
#define AV_HD inline __attribute__((always_inline))
#endif

typedef long long Index;

namespace av {

template <class T>
struct Pair {
    T p, q;
};

template <class T>
struct Adam {
    T momentum, memory, step, unbias;  // step = rate / first, unbias = 1 / second
};

template <class T>
AV_HD T raised(T x, T floor) {
    return floor > x ? floor : x;
}

template <class T>
AV_HD T lowered(T x, T ceiling) {
    return ceiling < x ? ceiling : x;
}

AV_HD float smallest_normal(float) { return 1.17549435e-38f; }
AV_HD double smallest_normal(double) { return 2.2250738585072014e-308; }

#ifdef __CUDACC__
AV_HD float root(float x) { return sqrtf(x); }
AV_HD double root(double x) { return sqrt(x); }
#else
AV_HD float root(float x) { return __builtin_sqrtf(x); }
AV_HD double root(double x) { return __builtin_sqrt(x); }
#endif

template <class T>
AV_HD T descend(T a, T slope, T chord) {
    return (a > T(0) ? slope : chord) * a;
}

template <class T>
AV_HD T chord_value(T a, T intercept) {
    return lowered(a, T(0)) * intercept;
}

template <class T>
AV_HD T line_at(T a, T pre, T slope, T chord, T intercept) {
    const T steep = a > T(0) ? slope : chord;
    const T start = a > T(0) ? T(0) : intercept;
    return steep * pre + start;
}

// Adam's step on one slope; mean and square are overwritten.
template <class T>
AV_HD T climb(T a, T pre, T slope, T minimum, T maximum, T& mean, T& square, const Adam<T>& adam) {
    const T gradient = raised(a, T(0)) * pre;
    mean = adam.momentum * mean + (T(1) - adam.momentum) * gradient;
    square = adam.memory * square + (T(1) - adam.memory) * (gradient * gradient);
    const T scale = raised(root(square * adam.unbias), smallest_normal(T(0)));
    const T moved = slope + (maximum - minimum) * (adam.step * mean / scale);
    // Where the range is NaN, so is the step.
    return lowered(raised(moved, minimum), maximum);
}

// A step of the slope of the line in use below, and none where the chord is.
template <class T>
AV_HD T slide(T a, T pre, T slope, T minimum, T maximum, T pace, T rate) {
    const T step = a > T(0) ? rate * pre : T(0);
    const T moved = lowered(raised(slope + pace * step, minimum), maximum);
    return (minimum != minimum) | (maximum != maximum) ? minimum + maximum : moved;
}

template <class T>
AV_HD T vertex(T coefficient, T lower, T upper) {
    return coefficient > T(0) ? lower : upper;
}

// The closed form of relaxations/triangle.py, in its order. NaN of a bound makes both coordinates NaN.
template <class T>
AV_HD Pair<T> project_triangle(T lower, T upper, T pre, T post) {
    const bool unstable = (lower < T(0)) & (upper > T(0));
    const T width = upper - lower;
    const T slope = unstable ? upper / width : T(0);
    const T middle = T(0.5) * pre + T(0.5) * post;
    const T right = lowered(raised(middle, raised(lower, T(0))), raised(upper, T(0)));
    const T left = lowered(raised(pre, lowered(lower, T(0))), lowered(upper, T(0)));
    const bool on_left = (upper <= T(0)) | ((lower < T(0)) & (pre <= T(0)));
    const T rise = pre - lower;
    const bool above = unstable & (post > slope * rise);
    const T along = (rise + slope * post) / (T(1) + slope * slope);
    const T t = lowered(raised(along, T(0)), width);
    const bool inside = unstable & (post >= raised(pre, T(0))) & !above;
    T p = on_left ? left : right;
    T q = on_left ? T(0) : right;
    p = above ? lowered(lower + t, upper) : p;
    q = above ? slope * t : q;
    p = inside ? pre : p;
    q = inside ? post : q;
    const bool lost = (lower != lower) | (upper != upper);
    return {lost ? lower + upper : p, lost ? lower + upper : q};
}

// The lesser of two numbers, and NaN where either is.
template <class T>
AV_HD T lesser(T x, T y) {
    return (x < y) | (x != x) ? x : y;
}

// The least of post q - pre p over the triangle's vertices (p, q).
template <class T>
AV_HD T support_triangle(T post, T pre, T lower, T upper) {
    const T left = post * raised(lower, T(0)) - pre * lower;
    const T right = post * raised(upper, T(0)) - pre * upper;
    const T least = lesser(left, right);
    return (lower < T(0)) & (upper > T(0)) ? lowered(least, T(0)) : least;
}

template <class T>
AV_HD T size(T x) {
    return x < T(0) ? -x : x;
}

// The output of a neuron at a share of the way from the hull's floor to its ceiling, at pre clipped to [lower, upper].
template <class T>
AV_HD T between(T pre, T share, T lower, T upper) {
    const T inside = lowered(raised(pre, lower), upper);
    const T floor = raised(inside, T(0));
    const T slope = (lower < T(0)) & (upper > T(0)) ? upper / (upper - lower) : T(0);
    const T ceiling = raised(slope * (inside - lower), floor);
    const T post = floor + lowered(raised(share, T(0)), T(1)) * (ceiling - floor);
    return (lower != lower) | (upper != upper) ? lower + upper : post;
}

// 1 where pre is further outside [lower, upper] than slack, or NaN is among them; else 0.
template <class T>
AV_HD T outside(T pre, T lower, T upper, T slack) {
    return (pre >= lower - slack) & (pre <= upper + slack) ? T(0) : T(1);
}

template <class T>
AV_HD T residual(T u, T r, T z) {
    return u - T(0.5) * (r + z);
}

// share = 1 / (since + 2), pull = (since + 1) / (since + 2)
template <class T>
AV_HD T halpern(T u, T r, T anchor, T share, T pull) {
    return share * anchor + pull * (T(2) * u - r);
}

}  // namespace av

#endif
