#pragma once

#include <atomic>
#include <cstdint>

namespace noria {

// All parts wait until the last one arrives.
class Barrier {
 public:
  explicit Barrier(int parts) : parts_(parts) {}
  void wait();

 private:
  const int parts_;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> round_{0};
};

// Threads that work together: the caller and, when nobody else has them, those of the pool.
class Team {
 public:
  explicit Team(int wanted);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  // Calls work(argument, part) for every part in 0..size()-1 at the same time.
  void run(void (*work)(const void*, int), const void* argument);

 private:
  int size_ = 1;
};

// Rounds denormal numbers to zero while it lives, then restores the caller's mode.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  uint64_t before_;
};

}  // namespace noria
