// CUDA's words for a host compiler: every thread of a block is a thread, with real barriers and shuffles.
//
// Blocks run one after the other, of a multiple of 32 threads each, or of one, in whose warp the other lanes hold zero.
#pragma once
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#define __global__ __attribute__((visibility("default")))
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline

namespace host {

constexpr unsigned WARP = 32;
struct Position {
    unsigned x = 0, y = 0, z = 0;
};
static thread_local Position thread_place, block_place;
static Position block_size{1, 1, 1}, grid_size{1, 1, 1};
static std::unique_ptr<std::barrier<>> whole;
static std::vector<std::unique_ptr<std::barrier<>>> warps;
static unsigned long long exchanged[1024];
static std::mutex one_launch;

[[noreturn]] inline void refuse(const char* what) {
    std::fprintf(stderr, "host kernels: %s\n", what);
    std::abort();
}

// What another lane of the warp holds.
template <class T>
T from_lane(unsigned mask, T value, unsigned lane) {
    static_assert(sizeof(T) <= 8);
    if (mask != 0xffffffffu) refuse("a shuffle of a part of a warp");
    if (block_size.x == 1) return lane == 0 ? value : T(0);
    const unsigned mine = thread_place.x, first = mine / WARP * WARP;
    std::memcpy(&exchanged[mine], &value, sizeof(T));
    warps[mine / WARP]->arrive_and_wait();
    T got = value;
    if (lane < WARP) std::memcpy(&got, &exchanged[first + lane], sizeof(T));
    warps[mine / WARP]->arrive_and_wait();
    return got;
}

template <class T>
T from_word(unsigned long long word) {
    T value;
    static_assert(sizeof(T) == 8, "kernels take pointers, 64-bit integers and doubles");
    std::memcpy(&value, &word, 8);
    return value;
}

template <class... A, std::size_t... I>
void run(void (*kernel)(A...), const unsigned long long* words, std::index_sequence<I...>) {
    kernel(from_word<A>(words[I])...);
}

// Runs a kernel on a grid; the arguments as 64-bit words. Their number is checked.
template <class... A>
void launch(void (*kernel)(A...), unsigned width, unsigned height, unsigned block, const unsigned long long* words,
            unsigned count) {
    if (count != sizeof...(A)) refuse("another number of arguments than the kernel takes");
    if (block != 1 && (block % WARP || block > 1024)) refuse("a block that is no multiple of a warp, or too large");
    const std::lock_guard<std::mutex> alone(one_launch);
    block_size = {block, 1, 1};
    grid_size = {width, height, 1};
    const auto work = [&](unsigned thread) {
        thread_place = {thread, 0, 0};
        for (unsigned y = 0; y < height; ++y)
            for (unsigned x = 0; x < width; ++x) {
                block_place = {x, y, 0};
                run(kernel, words, std::index_sequence_for<A...>{});
                if (block > 1) whole->arrive_and_wait();
            }
    };
    if (block == 1) return work(0);
    whole = std::make_unique<std::barrier<>>(block);
    warps.clear();
    for (unsigned w = 0; w < block / WARP; ++w) warps.push_back(std::make_unique<std::barrier<>>(WARP));
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < block; ++t) threads.emplace_back(work, t);
    for (auto& thread : threads) thread.join();
}

}  // namespace host

#define threadIdx host::thread_place
#define blockIdx host::block_place
#define blockDim host::block_size
#define gridDim host::grid_size

static inline void __syncthreads() {
    if (host::block_size.x > 1) host::whole->arrive_and_wait();
}
static inline void __syncwarp(unsigned = 0xffffffffu) {
    if (host::block_size.x > 1) host::warps[threadIdx.x / host::WARP]->arrive_and_wait();
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned offset) {
    return host::from_lane(mask, value, threadIdx.x % host::WARP + offset);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, unsigned bits) {
    return host::from_lane(mask, value, (threadIdx.x % host::WARP) ^ bits);
}
template <class T>
static inline T __shfl_sync(unsigned mask, T value, unsigned lane) {
    return host::from_lane(mask, value, lane);
}
template <class T>
static inline T atomicAdd(T* place, T value) {
    return std::atomic_ref<T>(*place).fetch_add(value);
}
template <class T>
static inline T __ldg(const T* place) {
    return *place;
}
