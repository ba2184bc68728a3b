#include "threads.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

#include "noria.h"

namespace noria {
namespace {

constexpr int most_threads = 256;
constexpr int spins_before_yield = 2000;  // some ten microseconds

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Done>
void spin_until(Done done) {
  for (int i = 0; i < spins_before_yield; ++i) {
    if (done()) return;
    pause();
  }
  while (!done()) std::this_thread::yield();
}

class Pool {
 public:
  std::mutex taken;

  // Makes sure there are `count` workers; returns how many there are.
  int grow(int count) {
    try {
      while (workers_ < count) {
        const unsigned round = round_.load();
        std::thread([this, part = workers_ + 1, round] { work(part, round); }).detach();
        ++workers_;
      }
    } catch (const std::system_error&) {
    }
    return workers_;
  }

  void run(int parts, void (*work)(const void*, int), const void* argument) {
    work_ = work, argument_ = argument, parts_ = parts;
    pending_.store(workers_);
    round_.fetch_add(1);
    round_.notify_all();
    work(argument, 0);
    spin_until([this] { return pending_.load() == 0; });
  }

 private:
  void work(int part, unsigned round) {
    for (;; ++round) {
      for (int i = 0; i < spins_before_yield && round_.load() == round; ++i) pause();
      round_.wait(round);
      if (part < parts_) work_(argument_, part);
      pending_.fetch_sub(1);
    }
  }

  int workers_ = 0;
  int parts_ = 0;
  void (*work_)(const void*, int) = nullptr;
  const void* argument_ = nullptr;
  std::atomic<unsigned> round_{0};
  std::atomic<int> pending_{0};
};

// Never destroyed: its threads outlive main(). A forked child has no threads and starts a new one.
std::atomic<Pool*> current_pool{nullptr};

Pool& pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    current_pool = new Pool;
#if defined(__linux__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { current_pool = new Pool; });
#endif
  });
  return *current_pool;
}

int usable_cores() {
#if defined(__linux__)
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return CPU_COUNT(&cores);
#endif
  return int(std::thread::hardware_concurrency());
}

int first_thread_count() {
  const char* wanted = std::getenv("NORIA_NUM_THREADS");
  const int count = wanted ? std::atoi(wanted) : 0;
  return std::clamp(count > 0 ? count : usable_cores(), 1, most_threads);
}

std::atomic<int>& threads() {
  static std::atomic<int> count{first_thread_count()};
  return count;
}

#if defined(__aarch64__)
uint64_t float_mode() {
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void set_float_mode(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
constexpr uint64_t flush = uint64_t(1) << 24;
#elif defined(__x86_64__)
uint64_t float_mode() { return _mm_getcsr(); }
void set_float_mode(uint64_t mode) { _mm_setcsr(unsigned(mode)); }
constexpr uint64_t flush = 0x8040;  // flush to zero, denormals are zero
#else
uint64_t float_mode() { return 0; }
void set_float_mode(uint64_t) {}
constexpr uint64_t flush = 0;
#endif

}  // namespace

void Barrier::wait() {
  if (parts_ == 1) return;
  const unsigned round = round_.load();
  if (arrived_.fetch_add(1) + 1 == parts_) {
    arrived_.store(0);
    round_.fetch_add(1);
  } else {
    spin_until([&] { return round_.load() != round; });
  }
}

Team::Team(int wanted) {
  if (wanted <= 1 || !pool().taken.try_lock()) return;
  size_ = std::min(wanted, pool().grow(wanted - 1) + 1);
  if (size_ == 1) pool().taken.unlock();
}

Team::~Team() {
  if (size_ > 1) pool().taken.unlock();
}

void Team::run(void (*work)(const void*, int), const void* argument) {
  if (size_ == 1)
    work(argument, 0);
  else
    pool().run(size_, work, argument);
}

FlushDenormals::FlushDenormals() : before_(float_mode()) { set_float_mode(before_ | flush); }
FlushDenormals::~FlushDenormals() { set_float_mode(before_); }

int thread_count() { return threads().load(); }
void set_thread_count(int count) { threads().store(std::clamp(count, 1, most_threads)); }

}  // namespace noria
