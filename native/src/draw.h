// How the next of some outcomes is drawn from their unnormalised log-probabilities.
#pragma once

#include <cstdint>

namespace noria {

// First the log-probabilities of recent outcomes are multiplied by repetition_penalty; then all but the top_k
// likeliest fall away (0: none), the rest are divided by the temperature (0: the likeliest comes), and of
// these the likeliest stay that together reach top_p.
struct Draw {
  double temperature = 1;
  int64_t top_k = 0;
  double top_p = 1;
  double repetition_penalty = 1;
};

// logits (B, V), plus barred (V) unless null; recent (B, R), -1 for none, or null; uniforms (B) from 0 up to
// 1 → drawn (B), each by its row alone. False if a row holds no numbers or nothing that is possible.
template <class T>
bool draw(const Draw& how, int64_t batch, int64_t outcomes, const T* logits, const T* barred,
          const int64_t* recent, int64_t recent_count, const double* uniforms, int64_t* drawn);

}  // namespace noria
