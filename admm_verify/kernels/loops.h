// The verbs as loops over rows and columns, av_<verb>_f32 and av_<verb>_f64, written once: native.cpp and verbs.cu say
// what a function, a loop and a sum are there.
//
// Row r uses row box[r] of the bounds, [boxes, n]; box is null where there is one row. Sums are made in double.
#ifndef ADMM_VERIFY_LOOPS_H
#define ADMM_VERIFY_LOOPS_H

#include "verbs.h"

// Exports the template `verb` for both types; PARAMETERS(T) is its parameter list, the rest are the arguments' names.
#define AV_EXPORT(verb, PARAMETERS, ...)                                         \
    AV_ENTRY av_##verb##_f32 PARAMETERS(float) { AV_CALL(verb(__VA_ARGS__)); } \
    AV_ENTRY av_##verb##_f64 PARAMETERS(double) { AV_CALL(verb(__VA_ARGS__)); }

#define IN(T) const T* AV_RESTRICT
#define OUT(T) T* AV_RESTRICT
#define SHAPE const Index *box, Index boxes, Index rows, Index n

AV_INNER Index start(const Index* box, Index r, Index n) { return box ? box[r] * n : 0; }

#define DESCEND(T) (IN(T) a, IN(T) slopes, IN(T) chord, IN(T) intercept, SHAPE, OUT(T) g, OUT(T) value)
template <class T>
AV_INNER void descend DESCEND(T) {
    AV_EACH_SUMMED_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0;
        AV_EACH_SUMMED {
            const T coefficient = a[at + i];
            g[at + i] = av::descend(coefficient, slopes[at + i], chord[bound + i]);
            sum += av::chord_value(coefficient, intercept[bound + i]);
        }
        AV_STORE(value, sum);
    }
}
AV_EXPORT(descend, DESCEND, a, slopes, chord, intercept, box, boxes, rows, n, g, value)

#define CLIMB(T)                                                                                          \
    (IN(T) a, IN(T) pre, IN(T) chord, IN(T) intercept, IN(T) minimum, IN(T) maximum, SHAPE, OUT(T) slopes, \
     OUT(T) mean, OUT(T) square, double momentum, double memory, double step, double unbias, OUT(T) post)
template <class T>
AV_INNER void climb CLIMB(T) {
    const av::Adam<T> adam = {T(momentum), T(memory), T(step), T(unbias)};
    AV_EACH_ROW {
        const Index at = r * n, bound = start(box, r, n);
        AV_EACH {
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

#define SLIDE(T)                                                                                             \
    (IN(T) a, IN(T) pre, IN(T) slopes, IN(T) chord, IN(T) intercept, IN(T) minimum, IN(T) maximum, IN(T) pace, \
     SHAPE, double rate, OUT(T) post, OUT(T) moved)
template <class T>
AV_INNER void slide SLIDE(T) {
    const T step = T(rate);
    AV_EACH_ROW {
        const Index at = r * n, bound = start(box, r, n);
        AV_EACH {
            const T coefficient = a[at + i], value = pre[at + i], slope = slopes[at + i];
            post[at + i] = av::line_at(coefficient, value, slope, chord[bound + i], intercept[bound + i]);
            moved[at + i] =
                av::slide(coefficient, value, slope, minimum[bound + i], maximum[bound + i], pace[bound + i], step);
        }
    }
}
AV_EXPORT(slide, SLIDE, a, pre, slopes, chord, intercept, minimum, maximum, pace, box, boxes, rows, n, rate, post, moved)

#define VERTEX(T) (IN(T) coefficient, IN(T) lower, IN(T) upper, SHAPE, OUT(T) x, OUT(T) value)
template <class T>
AV_INNER void vertex VERTEX(T) {
    AV_EACH_SUMMED_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0;
        AV_EACH_SUMMED {
            const T chosen = av::vertex(coefficient[at + i], lower[bound + i], upper[bound + i]);
            x[at + i] = chosen;
            sum += coefficient[at + i] * chosen;
        }
        AV_STORE(value, sum);
    }
}
AV_EXPORT(vertex, VERTEX, coefficient, lower, upper, box, boxes, rows, n, x, value)

#define SUPPORT(T) \
    (IN(T) post, IN(T) pre, IN(T) lower, IN(T) upper, IN(T) weight, SHAPE, OUT(T) value, OUT(T) size)
template <class T>
AV_INNER void support SUPPORT(T) {
    AV_EACH_SUMMED_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0, other = 0;
        AV_EACH_TWICE_SUMMED {
            sum += av::support_triangle(post[at + i], pre[at + i], lower[bound + i], upper[bound + i]);
            other += av::size(pre[at + i]) * weight[bound + i];
        }
        AV_STORE(value, sum);
        AV_STORE(size, other);
    }
}
AV_EXPORT(support, SUPPORT, post, pre, lower, upper, weight, box, boxes, rows, n, value, size)

#define CHARGE(T) (IN(T) post, IN(T) pre, IN(T) intercept, IN(T) weight, SHAPE, OUT(T) value, OUT(T) size)
template <class T>
AV_INNER void charge CHARGE(T) {
    AV_EACH_SUMMED_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0, other = 0;
        AV_EACH_TWICE_SUMMED {
            sum += av::chord_value(post[at + i], intercept[bound + i]);
            other += av::size(pre[at + i]) * weight[bound + i];
        }
        AV_STORE(value, sum);
        AV_STORE(size, other);
    }
}
AV_EXPORT(charge, CHARGE, post, pre, intercept, weight, box, boxes, rows, n, value, size)

#define LEAST(T) \
    (IN(T) coefficient, IN(T) centre, IN(T) radius, IN(T) reach, SHAPE, OUT(T) value, OUT(T) size)
template <class T>
AV_INNER void least LEAST(T) {
    AV_EACH_SUMMED_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0, other = 0;
        AV_EACH_TWICE_SUMMED {
            const T factor = coefficient[at + i], length = av::size(factor);
            sum += factor * centre[bound + i] - length * radius[bound + i];
            other += length * reach[bound + i];
        }
        AV_STORE(value, sum);
        AV_STORE(size, other);
    }
}
AV_EXPORT(least, LEAST, coefficient, centre, radius, reach, box, boxes, rows, n, value, size)

#define BETWEEN(T) \
    (IN(T) pre, IN(T) share, IN(T) lower, IN(T) upper, IN(T) slack, SHAPE, OUT(T) post, OUT(T) outside)
template <class T>
AV_INNER void between BETWEEN(T) {
    AV_EACH_SUMMED_ROW {
        const Index at = r * n, bound = start(box, r, n);
        double sum = 0;
        AV_EACH_SUMMED {
            const T value = pre[at + i], low = lower[bound + i], high = upper[bound + i];
            post[at + i] = av::between(value, share[at + i], low, high);
            sum += av::outside(value, low, high, slack[bound + i]);
        }
        AV_STORE(outside, sum);
    }
}
AV_EXPORT(between, BETWEEN, pre, share, lower, upper, slack, box, boxes, rows, n, post, outside)

#define AVERAGE(T) (IN(T) mean, IN(T) a, SHAPE, double weight, OUT(T) moved)
template <class T>
AV_INNER void average AVERAGE(T) {
    const T share = T(weight), kept = T(1) - share;
    AV_EACH_ROW {
        const Index at = r * n;
        AV_EACH moved[at + i] = kept * mean[at + i] + (a[at + i] < T(0) ? share : T(0));
    }
}
AV_EXPORT(average, AVERAGE, mean, a, box, boxes, rows, n, weight, moved)

#define BLEND(T) (IN(T) mean, IN(T) x, SHAPE, double weight, OUT(T) moved)
template <class T>
AV_INNER void blend BLEND(T) {
    const T share = T(weight), kept = T(1) - share;
    AV_EACH_ROW {
        const Index at = r * n;
        AV_EACH moved[at + i] = kept * mean[at + i] + share * x[at + i];
    }
}
AV_EXPORT(blend, BLEND, mean, x, box, boxes, rows, n, weight, moved)

#define PROJECT(T) (IN(T) pre, IN(T) post, IN(T) lower, IN(T) upper, SHAPE, OUT(T) p, OUT(T) q)
template <class T>
AV_INNER void project_triangle PROJECT(T) {
    AV_EACH_ROW {
        const Index at = r * n, bound = start(box, r, n);
        AV_EACH {
            const av::Pair<T> point =
                av::project_triangle(lower[bound + i], upper[bound + i], pre[at + i], post[at + i]);
            p[at + i] = point.p;
            q[at + i] = point.q;
        }
    }
}
AV_EXPORT(project_triangle, PROJECT, pre, post, lower, upper, box, boxes, rows, n, p, q)

#define HALPERN(T) \
    (IN(T) u, IN(T) reflected, IN(T) z, IN(T) anchor, IN(T) weight, SHAPE, IN(T) since, OUT(T) moved, OUT(T) square)
template <class T>
AV_INNER void halpern HALPERN(T) {
    AV_EACH_SUMMED_ROW {
        const Index at = r * n, bound = start(box, r, n);
        const T share = T(1) / (since[r] + T(2)), pull = (since[r] + T(1)) / (since[r] + T(2));
        double sum = 0;
        AV_EACH_SUMMED {
            const T move = av::residual(u[at + i], reflected[at + i], z[at + i]);
            moved[at + i] = av::halpern(u[at + i], reflected[at + i], anchor[at + i], share, pull);
            sum += weight[bound + i] * (move * move);
        }
        AV_STORE(square, sum);
    }
}
AV_EXPORT(halpern, HALPERN, u, reflected, z, anchor, weight, box, boxes, rows, n, since, moved, square)

// Which entries of a row of `width` the number i is made of: places[d * n + i], the first that is `width` ends them.
#define GATHER(T)                                                                                             \
    (IN(T) weight, IN(T) shift, SHAPE, IN(T) x, IN(Index) places, double width, double most, OUT(T) found)
template <class T>
AV_INNER void gather GATHER(T) {
    const Index wide = (Index)width, deep = (Index)most;
    AV_EACH_ROW {
        const Index at = r * n, bound = start(box, r, n), from = r * wide;
        AV_EACH {
            T sum = T(0);
            for (Index d = 0; d < deep; ++d) {
                const Index place = places[d * n + i];
                if (place >= wide) break;
                sum += x[from + place];
            }
            found[at + i] = weight[bound + i] * sum + shift[bound + i];
        }
    }
}
AV_EXPORT(gather, GATHER, weight, shift, box, boxes, rows, n, x, places, width, most, found)

#define REFLECT(T) \
    (IN(T) z, IN(T) sign, IN(T) gain, SHAPE, IN(T) source, IN(Index) places, double width, OUT(T) found)
template <class T>
AV_INNER void reflect REFLECT(T) {
    const Index wide = (Index)width;
    AV_EACH_ROW {
        const Index at = r * n, bound = start(box, r, n), from = r * wide;
        AV_EACH {
            const T other = places[i] < wide ? source[from + places[i]] : T(0);
            found[at + i] = sign[bound + i] * z[at + i] + gain[bound + i] * other;
        }
    }
}
AV_EXPORT(reflect, REFLECT, z, sign, gain, box, boxes, rows, n, source, places, width, found)

#define TURN(T) \
    (IN(T) along, IN(T) across, IN(T) near, IN(T) far, IN(T) back, SHAPE, OUT(T) down, OUT(T) up)
template <class T>
AV_INNER void turn TURN(T) {
    AV_EACH_ROW {
        const Index at = r * n, bound = start(box, r, n);
        AV_EACH {
            const T moved = near[bound + i] * across[at + i] - far[bound + i] * along[at + i];
            down[at + i] = moved;
            up[at + i] = back[bound + i] * (along[at + i] + moved);
        }
    }
}
AV_EXPORT(turn, TURN, along, across, near, far, back, box, boxes, rows, n, down, up)

// Verbs of up to eight arrays, each of a width of its own, so that a whole network takes one launch.
#define AV_EIGHT(PART, T) PART(T, 0), PART(T, 1), PART(T, 2), PART(T, 3), PART(T, 4), PART(T, 5), PART(T, 6), PART(T, 7)
#define AV_FIRST(T, d) IN(T) first##d
#define AV_SECOND(T, d) IN(T) second##d
#define AV_WIDTH(T, d) double width##d
#define AV_RESULT(T, d) OUT(T) result##d
#define AV_NAMED(name, d) name##d
#define AV_NAMES(name) AV_EIGHT(AV_NAMED, name)

template <class T>
AV_INNER void keep_part(IN(T) value, IN(T) best, Index rows, IN(T) found, IN(T) old, OUT(T) kept, double width) {
    const Index n = (Index)width;
    AV_EACH_ROW {
        const Index at = r * n;
        const bool better = value[r] > best[r];
        AV_EACH kept[at + i] = better ? found[at + i] : old[at + i];
    }
}

#define KEEP(T)                                                                                        \
    (SHAPE, IN(T) value, IN(T) best, AV_EIGHT(AV_FIRST, T), AV_EIGHT(AV_SECOND, T), AV_EIGHT(AV_WIDTH, T), \
     AV_EIGHT(AV_RESULT, T))
template <class T>
AV_INNER void keep KEEP(T) {
    keep_part(value, best, rows, first0, second0, result0, width0);
    keep_part(value, best, rows, first1, second1, result1, width1);
    keep_part(value, best, rows, first2, second2, result2, width2);
    keep_part(value, best, rows, first3, second3, result3, width3);
    keep_part(value, best, rows, first4, second4, result4, width4);
    keep_part(value, best, rows, first5, second5, result5, width5);
    keep_part(value, best, rows, first6, second6, result6, width6);
    keep_part(value, best, rows, first7, second7, result7, width7);
}
AV_EXPORT(keep, KEEP, box, boxes, rows, n, value, best, AV_NAMES(first), AV_NAMES(second), AV_NAMES(width),
          AV_NAMES(result))

#define AVERAGES(T)                                                                                       \
    (SHAPE, AV_EIGHT(AV_FIRST, T), AV_EIGHT(AV_SECOND, T), double weight, AV_EIGHT(AV_WIDTH, T), \
     AV_EIGHT(AV_RESULT, T))
template <class T>
AV_INNER void averages AVERAGES(T) {
    blend<T>(first0, second0, 0, 1, rows, (Index)width0, weight, result0);
    average<T>(first1, second1, 0, 1, rows, (Index)width1, weight, result1);
    average<T>(first2, second2, 0, 1, rows, (Index)width2, weight, result2);
    average<T>(first3, second3, 0, 1, rows, (Index)width3, weight, result3);
    average<T>(first4, second4, 0, 1, rows, (Index)width4, weight, result4);
    average<T>(first5, second5, 0, 1, rows, (Index)width5, weight, result5);
    average<T>(first6, second6, 0, 1, rows, (Index)width6, weight, result6);
    average<T>(first7, second7, 0, 1, rows, (Index)width7, weight, result7);
}
AV_EXPORT(averages, AVERAGES, box, boxes, rows, n, AV_NAMES(first), AV_NAMES(second), weight, AV_NAMES(width),
          AV_NAMES(result))

#endif
