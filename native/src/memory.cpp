// Large blocks are asked for in huge pages and kept for the next call: fresh pages would cost a training
// step more than its arithmetic can hide.
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__linux__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "noria.h"

namespace noria {
namespace {

constexpr size_t line = 64, huge_page = size_t(2) << 20;
constexpr size_t large = size_t(1) << 20;
constexpr size_t most_kept = size_t(256) << 20;

struct Block {
  void* memory;
  size_t capacity;
};

class LargeBlocks {
 public:
  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    used_.reserve(used_.size() + 1);
    size_t best = kept_.size();
    for (size_t i = 0; i < kept_.size(); ++i)
      if (kept_[i].capacity >= bytes && kept_[i].capacity / 2 <= bytes &&
          (best == kept_.size() || kept_[i].capacity < kept_[best].capacity))
        best = i;
    Block block{};
    if (best < kept_.size()) {
      block = kept_[best];
      kept_.erase(kept_.begin() + ptrdiff_t(best));
      kept_bytes_ -= block.capacity;
    } else {
      block.capacity = (bytes + huge_page - 1) / huge_page * huge_page;
      block.memory = ::operator new(block.capacity, std::align_val_t(huge_page));
#if defined(__linux__)
      madvise(block.memory, block.capacity, MADV_HUGEPAGE);
#endif
    }
    used_.push_back(block);
    return block.memory;
  }

  // False when the memory is none of these blocks.
  bool give_back(void* memory) {
    const std::lock_guard lock(mutex_);
    for (size_t i = used_.size(); i-- > 0;) {
      if (used_[i].memory != memory) continue;
      const Block block = used_[i];
      used_[i] = used_.back();
      used_.pop_back();
      keep(block);
      return true;
    }
    return false;
  }

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  void keep(Block block) {
    while (!kept_.empty() && kept_bytes_ + block.capacity > most_kept) {
      free(kept_.front());
      kept_bytes_ -= kept_.front().capacity;
      kept_.erase(kept_.begin());
    }
    if (block.capacity > most_kept) return free(block);
    kept_.push_back(block);
    kept_bytes_ += block.capacity;
  }

  static void free(Block block) { ::operator delete(block.memory, std::align_val_t(huge_page)); }

  std::mutex mutex_;
  std::vector<Block> used_, kept_;  // kept: oldest first
  size_t kept_bytes_ = 0;
};

// Never destroyed: arrays may be given back while the process ends. A fork waits until nobody changes
// them, as the child has no thread that could finish.
LargeBlocks& large_blocks() {
  static LargeBlocks* blocks = [] {
    auto* made = new LargeBlocks;
#if defined(__linux__) || defined(__APPLE__)
    pthread_atfork([] { large_blocks().lock(); }, [] { large_blocks().unlock(); },
                   [] { large_blocks().unlock(); });
#endif
    return made;
  }();
  return *blocks;
}

}  // namespace

void* allocate(int64_t bytes) {
  const size_t size = bytes > 0 ? size_t(bytes) : 1;
  if (size >= large) return large_blocks().take(size);
  return ::operator new(size, std::align_val_t(line));
}

void release(void* memory) {
  // Large blocks begin on a huge page; almost nothing else does.
  if (uintptr_t(memory) % huge_page == 0 && large_blocks().give_back(memory)) return;
  ::operator delete(memory, std::align_val_t(line));
}

}  // namespace noria
