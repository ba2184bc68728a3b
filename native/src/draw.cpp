#include "draw.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace noria {
namespace {

template <class T>
class Row {
 public:
  Row(const Draw& how, int64_t size) : how_(how), logits_(size_t(size)), weights_(size_t(size)) {}

  int64_t draw(const T* logits, const T* barred, const int64_t* recent, int64_t recent_count,
               double uniform) {
    std::copy(logits, logits + logits_.size(), logits_.begin());
    if (barred)
      for (size_t v = 0; v < logits_.size(); ++v) logits_[v] += barred[v];
    if (how_.repetition_penalty != 1 && recent_count) penalise(recent, recent_count);
    const auto likeliest = std::max_element(logits_.begin(), logits_.end());
    const T largest = *likeliest;
    if (!std::isfinite(largest) || !all_numbers()) return -1;
    if (how_.temperature == 0) return likeliest - logits_.begin();
    const T least = how_.top_k && how_.top_k < int64_t(logits_.size()) ? kth_largest() : -infinity;
    for (size_t v = 0; v < logits_.size(); ++v)
      weights_[v] = logits_[v] < least ? 0 : std::exp(double((logits_[v] - largest) / T(how_.temperature)));
    if (how_.top_p < 1) keep_the_top();
    // One chain of sums in the outcomes' order; the first that passes the wanted share of the last.
    std::partial_sum(weights_.begin(), weights_.end(), weights_.begin());
    if (!(weights_.back() < std::numeric_limits<double>::infinity())) return -1;
    const auto reached = std::upper_bound(weights_.begin(), weights_.end(), uniform * weights_.back());
    return reached - weights_.begin();
  }

 private:
  static constexpr T infinity = std::numeric_limits<T>::infinity();

  bool all_numbers() const {
    bool found = true;
    for (const T logit : logits_) found &= logit == logit;
    return found;
  }

  void penalise(const int64_t* recent, int64_t count) {
    const T largest = *std::max_element(logits_.begin(), logits_.end());
    double sum = 0;
    for (const T logit : logits_) sum += std::exp(double(logit - largest));
    const T total = largest + T(std::log(sum));
    for (size_t v = 0; v < logits_.size(); ++v) weights_[v] = logits_[v] = logits_[v] - total;
    for (int64_t i = 0; i < count; ++i)
      if (recent[i] >= 0) {
        const size_t v = size_t(recent[i]);
        logits_[v] = T(weights_[v]) * T(how_.repetition_penalty);
      }
  }

  T kth_largest() {
    sorted_ = logits_;
    const auto kth = sorted_.begin() + (how_.top_k - 1);
    std::nth_element(sorted_.begin(), kth, sorted_.end(), [](T a, T b) { return a > b; });
    return *kth;
  }

  // The likeliest that together reach top_p; of equal ones the first.
  void keep_the_top() {
    order_.resize(weights_.size());
    std::iota(order_.begin(), order_.end(), size_t(0));
    std::sort(order_.begin(), order_.end(), [this](size_t a, size_t b) {
      return weights_[a] > weights_[b] || (weights_[a] == weights_[b] && a < b);
    });
    double total = 0, before = 0;
    for (const size_t v : order_) total += weights_[v];
    for (const size_t v : order_) {
      const double weight = weights_[v];
      if (before >= how_.top_p * total) weights_[v] = 0;
      before += weight;
    }
  }

  const Draw& how_;
  std::vector<T> logits_, sorted_;
  std::vector<double> weights_;
  std::vector<size_t> order_;
};

}  // namespace

template <class T>
bool draw(const Draw& how, int64_t rows, int64_t size, const T* logits, const T* barred,
          const int64_t* recent, int64_t recent_count, const double* uniforms, int64_t* drawn) {
  Row<T> row(how, size);
  bool found = true;
  for (int64_t b = 0; b < rows; ++b) {
    drawn[b] = row.draw(logits + b * size, barred, recent ? recent + b * recent_count : nullptr,
                        recent ? recent_count : 0, uniforms[b]);
    found = found && drawn[b] >= 0 && drawn[b] < size;
  }
  return found;
}

template bool draw(const Draw&, int64_t, int64_t, const float*, const float*, const int64_t*, int64_t,
                   const double*, int64_t*);
template bool draw(const Draw&, int64_t, int64_t, const double*, const double*, const int64_t*, int64_t,
                   const double*, int64_t*);

}  // namespace noria
