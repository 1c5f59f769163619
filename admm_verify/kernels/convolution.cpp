// Convolutions of flat images and their adjoints for one core: direct sums of products, no transforms, so that the
// rounding of every output is that of a dot product.
//
// A block of LANES rows is laid side by side (entry by entry), so that one vector holds the same entry of all rows; a
// few output channels are then summed up in registers.
#include <stdlib.h>
#include <string.h>

typedef long long Index;

struct Shape {
    Index groups, outputs, inputs;  // channels of one group
    Index height, width;            // of the input
    Index out_height, out_width;
    Index kernel_height, kernel_width;
    Index stride[2], top, left, dilation[2];
};

template <class T>
struct Vector {
    static constexpr Index lanes = 64 / sizeof(T);
    typedef T type __attribute__((vector_size(64)));
};

// LANES rows of x [rows, n] entry by entry; missing rows are zero.
template <class T>
static void pack(const T* x, Index rows, Index n, T* packed) {
    constexpr Index lanes = Vector<T>::lanes;
    if (rows < lanes) memset(packed, 0, n * lanes * sizeof(T));
    for (Index first = 0; first < n; first += 8) {
        const Index last = first + 8 < n ? first + 8 : n;
        for (Index r = 0; r < rows; ++r)
            for (Index i = first; i < last; ++i) packed[i * lanes + r] = x[r * n + i];
    }
}

template <class T>
static void unpack(const T* packed, Index rows, Index n, T* x) {
    constexpr Index lanes = Vector<T>::lanes;
    for (Index first = 0; first < n; first += 8) {
        const Index last = first + 8 < n ? first + 8 : n;
        for (Index r = 0; r < rows; ++r)
            for (Index i = first; i < last; ++i) x[r * n + i] = packed[i * lanes + r];
    }
}

// The taps k with 0 <= first + dilation k < size: [begin, end).
static void taps(Index first, Index dilation, Index size, Index kernel, Index& begin, Index& end) {
    begin = first < 0 ? (-first + dilation - 1) / dilation : 0;
    end = first < size ? (size - 1 - first) / dilation + 1 : 0;
    if (end > kernel) end = kernel;
    if (begin > end) begin = end;
}

// y[o, i, j] = sum of weight[o, c, u, v] x[c, sh i + dh u - top, sw j + dw v - left] for BLOCK channels o of one group;
// weight [c, u, v, BLOCK].
template <class T, int BLOCK>
static void correlate_block(const Shape& s, const T* weight, const T* x, T* y, Index channels) {
    typedef typename Vector<T>::type V;
    const V* in = (const V*)x;
    V* out = (V*)y;
    const Index plane = s.out_height * s.out_width;
    for (Index i = 0; i < s.out_height; ++i) {
        const Index row = s.stride[0] * i - s.top;
        Index u0, u1;
        taps(row, s.dilation[0], s.height, s.kernel_height, u0, u1);
        for (Index j = 0; j < s.out_width; ++j) {
            const Index column = s.stride[1] * j - s.left;
            Index v0, v1;
            taps(column, s.dilation[1], s.width, s.kernel_width, v0, v1);
            V sum[BLOCK] = {};
            for (Index c = 0; c < s.inputs; ++c)
                for (Index u = u0; u < u1; ++u) {
                    const V* line = in + (c * s.height + row + s.dilation[0] * u) * s.width + column;
                    const T* w = weight + ((c * s.kernel_height + u) * s.kernel_width) * BLOCK;
                    for (Index v = v0; v < v1; ++v) {
                        const V value = line[s.dilation[1] * v];
#pragma GCC unroll 8
                        for (int b = 0; b < BLOCK; ++b) sum[b] += w[v * BLOCK + b] * value;
                    }
                }
            for (Index b = 0; b < channels; ++b) out[b * plane + i * s.out_width + j] = sum[b];
        }
    }
}

// x[c, h, w] = sum of weight[o, c, u, v] y[o, i, j] over sh i + dh u - top = h and sw j + dw v - left = w, for BLOCK
// channels c of one group; weight [u, v, o, BLOCK].
template <class T, int BLOCK>
static void spread_block(const Shape& s, const T* weight, const T* y, T* x, Index channels) {
    typedef typename Vector<T>::type V;
    const V* in = (const V*)y;
    V* out = (V*)x;
    const Index plane = s.out_height * s.out_width;
    for (Index h = 0; h < s.height; ++h)
        for (Index w = 0; w < s.width; ++w) {
            V sum[BLOCK] = {};
            for (Index u = 0; u < s.kernel_height; ++u) {
                const Index up = h + s.top - s.dilation[0] * u;
                if (up < 0 || up % s.stride[0] || up / s.stride[0] >= s.out_height) continue;
                for (Index v = 0; v < s.kernel_width; ++v) {
                    const Index across = w + s.left - s.dilation[1] * v;
                    if (across < 0 || across % s.stride[1] || across / s.stride[1] >= s.out_width) continue;
                    const V* line = in + (up / s.stride[0]) * s.out_width + across / s.stride[1];
                    const T* k = weight + (u * s.kernel_width + v) * s.outputs * BLOCK;
                    for (Index o = 0; o < s.outputs; ++o) {
                        const V value = line[o * plane];
#pragma GCC unroll 8
                        for (int b = 0; b < BLOCK; ++b) sum[b] += k[o * BLOCK + b] * value;
                    }
                }
            }
            for (Index b = 0; b < channels; ++b) out[(b * s.height + h) * s.width + w] = sum[b];
        }
}

// The weight [groups, outputs, inputs, taps] in blocks of BLOCK channels, those that are summed up in registers last.
template <class T, int BLOCK>
static void pack_weight(bool forward, const Shape& s, const T* weight, T* packed) {
    const Index taps = s.kernel_height * s.kernel_width;
    const Index outer = forward ? s.outputs : s.inputs, inner = forward ? s.inputs : s.outputs;
    const Index blocks = (outer + BLOCK - 1) / BLOCK;
    memset(packed, 0, s.groups * blocks * BLOCK * inner * taps * sizeof(T));
    for (Index g = 0; g < s.groups; ++g)
        for (Index o = 0; o < s.outputs; ++o)
            for (Index c = 0; c < s.inputs; ++c)
                for (Index t = 0; t < taps; ++t) {
                    const Index channel = forward ? o : c;
                    const Index place = forward ? c * taps + t : t * s.outputs + o;
                    const Index block = (g * blocks + channel / BLOCK) * inner * taps;
                    packed[(block + place) * BLOCK + channel % BLOCK] =
                        weight[((g * s.outputs + o) * s.inputs + c) * taps + t];
                }
}

// All rows: in [rows, groups * inner channels * pixels] -> out. Returns 1 where memory cannot be had.
template <class T, int BLOCK>
static int convolve(bool forward, const Shape& s, const T* weight, const T* in, Index rows, T* out) {
    constexpr Index lanes = Vector<T>::lanes;
    const Index taps = s.kernel_height * s.kernel_width;
    const Index outer = forward ? s.outputs : s.inputs, inner = forward ? s.inputs : s.outputs;
    const Index image = s.height * s.width, result = s.out_height * s.out_width;
    const Index in_pixels = forward ? image : result, out_pixels = forward ? result : image;
    const Index in_size = s.groups * inner * in_pixels, out_size = s.groups * outer * out_pixels;
    const Index blocks = (outer + BLOCK - 1) / BLOCK, block_size = inner * taps * BLOCK;
    const size_t numbers = (in_size + out_size) * lanes + s.groups * blocks * block_size;
    T* memory = (T*)aligned_alloc(64, (numbers * sizeof(T) + 63) / 64 * 64);
    if (!memory) return 1;
    T *x = memory, *y = x + in_size * lanes, *packed = y + out_size * lanes;
    pack_weight<T, BLOCK>(forward, s, weight, packed);
    for (Index r = 0; r < rows; r += lanes) {
        const Index count = rows - r < lanes ? rows - r : lanes;
        pack<T>(in + r * in_size, count, in_size, x);
        for (Index g = 0; g < s.groups; ++g)
            for (Index b = 0; b < blocks; ++b) {
                const Index channels = outer - b * BLOCK < BLOCK ? outer - b * BLOCK : BLOCK;
                const T* from = x + g * inner * in_pixels * lanes;
                T* to = y + (g * outer + b * BLOCK) * out_pixels * lanes;
                const T* kernel = packed + (g * blocks + b) * block_size;
                if (forward)
                    correlate_block<T, BLOCK>(s, kernel, from, to, channels);
                else
                    spread_block<T, BLOCK>(s, kernel, from, to, channels);
            }
        unpack<T>(y, count, out_size, out + r * out_size);
    }
    free(memory);
    return 0;
}

template <class T>
static int chosen(const Index* d, int forward, const T* weight, const T* in, Index rows, T* out) {
    const Shape s = {d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], {d[9], d[10]}, d[11], d[12], {d[13], d[14]}};
    const Index outer = forward ? s.outputs : s.inputs;
    return outer <= 4 ? convolve<T, 4>(forward, s, weight, in, rows, out)
                      : convolve<T, 8>(forward, s, weight, in, rows, out);
}

extern "C" int av_convolve_f32(const Index* shape, int forward, const float* weight, const float* in, Index rows,
                               float* out) {
    return chosen(shape, forward, weight, in, rows, out);
}

extern "C" int av_convolve_f64(const Index* shape, int forward, const double* weight, const double* in, Index rows,
                               double* out) {
    return chosen(shape, forward, weight, in, rows, out);
}
