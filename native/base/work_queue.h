#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace cidery {

/// A bounded queue between one thread that asks and one that works.
template <typename Item>
class WorkQueue {
 public:
  explicit WorkQueue(size_t most_waiting) : most_waiting_(most_waiting) {}

  /// False, and `item` is left alone, when the queue is full or closed.
  bool push(Item& item) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || items_.size() >= most_waiting_) return false;
      items_.push_back(std::move(item));
    }
    ready_.notify_one();
    return true;
  }

  /// Waits for the next item. False when the queue is closed and empty.
  bool pop(Item& item) {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return closed_ || !items_.empty(); });
    if (items_.empty()) return false;
    item = std::move(items_.front());
    items_.pop_front();
    return true;
  }

  /// As `pop`, without waiting: false when nothing is there.
  bool try_pop(Item& item) {
    const std::lock_guard lock(mutex_);
    if (items_.empty()) return false;
    item = std::move(items_.front());
    items_.pop_front();
    return true;
  }

  /// Takes the item back that was pushed last: false when it was handed out, or when `may` says no.
  template <typename Predicate>
  bool take_back(Item& item, Predicate may) {
    const std::lock_guard lock(mutex_);
    if (closed_ || items_.empty() || !may(std::as_const(items_.back()))) return false;
    item = std::move(items_.back());
    items_.pop_back();
    return true;
  }

  /// Takes nothing more and returns what was waiting; `last`, where given, is still handed out.
  std::deque<Item> close(std::optional<Item> last = std::nullopt) {
    std::deque<Item> waiting;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      waiting.swap(items_);
      if (last) items_.push_back(std::move(*last));
    }
    ready_.notify_all();
    return waiting;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Item> items_;
  const size_t most_waiting_;
  bool closed_ = false;
};

}  // namespace cidery
