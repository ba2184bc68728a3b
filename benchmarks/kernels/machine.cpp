// What this core can do at most: fused multiply-adds, and reading from each size of memory. One JSON object.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int width = 16;
#elif defined(__AVX__)
constexpr int width = 8;
#else
constexpr int width = 4;
#endif
typedef float Vector __attribute__((vector_size(4 * width)));
constexpr int chains = 12;  // enough to hide the latency, few enough for the registers

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of 5 tries the best, each of some 20 ms.
template <class Work>
double rate(double amount, Work work) {
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    double spent = 0, done = 0;
    for (const double start = seconds(); (spent = seconds() - start) < 0.02; done += amount) work();
    if (done / spent > best) best = done / spent;
  }
  return best;
}

// Makes the compiler believe that the value is needed, and may be another.
void keep(Vector& value) { asm volatile("" : "+x"(value)); }

double multiply_adds() {
  constexpr int rounds = 10000;
  return rate(2.0 * rounds * chains * width, [] {
    Vector sum[chains] = {}, x = Vector{} + 0.5f, y = Vector{} + 0.25f;
    keep(x);
    keep(y);
    for (Vector& s : sum) keep(s);
    for (int i = 0; i < rounds; ++i)
#pragma GCC unroll 12
      for (int c = 0; c < chains; ++c) sum[c] = x * sum[c] + y;
    for (Vector& s : sum) keep(s);
  });
}

double reading(int64_t bytes) {
  const std::vector<float> memory(size_t(bytes / 4) + width, 1.0f);
  const int64_t lines = bytes / int64_t(sizeof(Vector)) / 8;
  const int64_t rounds = 1 + (1 << 20) / bytes;
  return rate(double(rounds * lines * 8 * int64_t(sizeof(Vector))), [&] {
    for (int64_t round = 0; round < rounds; ++round) {
      const Vector* from = (const Vector*)((uintptr_t(memory.data()) + sizeof(Vector) - 1) & -sizeof(Vector));
      for (int64_t i = 0; i < lines; ++i, from += 8) {
#pragma GCC unroll 8
        for (int v = 0; v < 8; ++v) {
          Vector value = from[v];
          keep(value);
        }
      }
    }
  });
}

}  // namespace

int main() {
  std::printf("{\"gflops\": %.1f, \"read_gb_per_s\": {", multiply_adds() / 1e9);
  const char* separator = "";
  for (int64_t kib = 16; kib <= 65536; kib *= 2) {
    std::printf("%s\"%lld\": %.1f", separator, (long long)(kib * 1024), reading(kib * 1024) / 1e9);
    separator = ", ";
  }
  std::printf("}}\n");
}
