// What the native tests share.
#pragma once

#include <cstdio>
#include <cstring>
#include <random>

#include "noria.h"

namespace noria::testing {

inline int failures = 0;

inline void check(bool holds, const char* what, const char* where) {
  if (holds) return;
  ++failures;
  std::printf("FAILED: %s (%s)\n", what, where);
}

// Exactly as large as promised, so that the sanitizer sees every step too far.
template <class T>
struct Array {
  explicit Array(int64_t size, T value = T(0)) : count(size), data(new T[size_t(size)]) {
    for (int64_t i = 0; i < size; ++i) data[i] = value;
  }
  Array(const Array& other) : count(other.count), data(new T[size_t(other.count)]) {
    for (int64_t i = 0; i < count; ++i) data[i] = other.data[i];
  }
  Array& operator=(const Array&) = delete;
  ~Array() { delete[] data; }
  bool operator==(const Array& other) const {
    return count == other.count && std::memcmp(data, other.data, size_t(count) * sizeof(T)) == 0;
  }
  const int64_t count;
  T* const data;
};

template <class T>
Array<T> draw(int64_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0.0, 0.5);
  Array<T> array(size);
  for (int64_t i = 0; i < size; ++i) array.data[i] = T(normal(random));
  return array;
}

inline int64_t gates_of(Cell cell) { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }

// In test_stack.cpp.
void check_stacks();

}  // namespace noria::testing
