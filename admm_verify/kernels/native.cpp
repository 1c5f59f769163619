// The verbs for one core: a C interface called through ctypes. Every function returns 0, or 1 and writes nothing where
// an entry of box is out of range.
#include "verbs.h"

static bool within(const Index* box, Index boxes, Index rows) {
    bool good = true;
    for (Index r = 0; box && r < rows; ++r) good &= (box[r] >= 0) & (box[r] < boxes);
    return good;
}

#define AV_ENTRY extern "C" int
#define AV_CALL(work)                          \
    if (!within(box, boxes, rows)) return 1; \
    work;                                      \
    return 0
#define AV_INNER static inline
#define AV_RESTRICT __restrict
#define AV_EACH_ROW for (Index r = 0; r < rows; ++r)
#define AV_EACH_SUMMED_ROW AV_EACH_ROW
#define AV_EACH _Pragma("omp simd") for (Index i = 0; i < n; ++i)
#define AV_EACH_SUMMED _Pragma("omp simd reduction(+ : sum)") for (Index i = 0; i < n; ++i)
#define AV_EACH_TWICE_SUMMED _Pragma("omp simd reduction(+ : sum, other)") for (Index i = 0; i < n; ++i)
#define AV_STORE(sums, sum) sums[r] = T(sum)

#include "loops.h"
