// Shared by the way forward and the way back.
#pragma once

#include "cells/gru.h"
#include "cells/linear.h"
#include "cells/lstm.h"
#include "cells/rnn.h"
#include "gemm.h"
#include "job.h"
#include "norm.h"

namespace noria::NORIA_TARGET {

template <class T>
NORIA_INLINE int64_t panels_of(int64_t neurons) {
  return (neurons + width<T> - 1) / width<T>;
}

// A cell that is known at run time only; its members have the names of a built-in cell's constants.
template <class T>
struct Own {
  const OwnCell<T>& code;
  const int gates = code.gates, slots = code.slots, kept = code.kept, states = code.states;
  const int* const gate_of = code.gate_of;
};

template <class CellType>
inline constexpr bool built_in = true;
template <class T>
inline constexpr bool built_in<Own<T>> = false;

template <class CellType, class T>
NORIA_INLINE CellType cell_of(const LayerInputs<T>& in) {
  if constexpr (built_in<CellType>)
    return {};
  else
    return {*in.own};
}

template <class T>
NORIA_INLINE int64_t parameters_of(const LayerInputs<T>& in) {
  return in.cell == Cell::own ? in.own->parameters : 0;
}

// Calls visit.template operator()<G>() for a cell's number of gates.
template <class CellType, class Visit>
NORIA_INLINE auto with_gates(const CellType& cell, Visit visit) {
  if constexpr (built_in<CellType>) {
    return visit.template operator()<CellType::gates>();
  } else {
    switch (cell.gates) {
      case 1:
        return visit.template operator()<1>();
      case 2:
        return visit.template operator()<2>();
      case 3:
        return visit.template operator()<3>();
      case 4:
        return visit.template operator()<4>();
      case 5:
        return visit.template operator()<5>();
      case 6:
        return visit.template operator()<6>();
      case 7:
        return visit.template operator()<7>();
      default:
        static_assert(most_gates == 8);
        return visit.template operator()<8>();
    }
  }
}

// Calls visit.template operator()<CellType>() for the cell.
template <class T, class Visit>
NORIA_INLINE auto with_cell(Cell cell, Visit visit) {
  switch (cell) {
    case Cell::lstm:
      return visit.template operator()<Lstm<T>>();
    case Cell::gru:
      return visit.template operator()<Gru<T>>();
    case Cell::rnn_tanh:
      return visit.template operator()<RnnTanh<T>>();
    case Cell::rnn_relu:
      return visit.template operator()<RnnRelu<T>>();
    case Cell::own:
      return visit.template operator()<Own<T>>();
    default:
      return visit.template operator()<Linear<T>>();
  }
}

// Calls visit.template operator()<N>(first) for all slots of a cell, together where their number is known.
template <class CellType, class Visit>
NORIA_INLINE void with_slots(const CellType& cell, Visit visit) {
  if constexpr (built_in<CellType>)
    visit.template operator()<CellType::slots>(0);
  else
    for (int slot = 0; slot < cell.slots; ++slot) visit.template operator()<1>(slot);
}

struct Range {
  int64_t first, last;
};

NORIA_INLINE Range share(int64_t count, int part, int parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

NORIA_INLINE Range rows_of(const Job& job, int part) {
  if (job.by_neuron) return {0, job.batch};
  return {job.row_share[part], job.row_share[part + 1]};
}

// A part's panels of a layer.
template <class T>
NORIA_INLINE Range panels_of(const Job& job, int64_t hidden, int part) {
  const int64_t panels = panels_of<T>(hidden);
  return job.by_neuron ? share(panels, part, job.parts) : Range{0, panels};
}

// The rows of the range that still run at step t.
NORIA_INLINE int64_t running(const Job& job, Range rows, int64_t t) {
  const int64_t last = job.active[t] < rows.last ? job.active[t] : rows.last;
  return last > rows.first ? last - rows.first : 0;
}

// (B, H) of the caller → (B, Hp) sorted, this part's rows and panels; null: zeros.
template <class T>
void gather(const Job& job, const T* from, int64_t hidden, Range rows, Range panels, T* to) {
  const int64_t padded = panels_of<T>(hidden) * width<T>;
  for (int64_t s = rows.first; s < rows.last; ++s)
    for (int64_t j = panels.first * width<T>; j < panels.last * width<T>; j += width<T>)
      store(to + s * padded + j,
            from ? load_some(from + job.order[s] * hidden + j, hidden - j) : Vector<T>{});
}

template <class T>
NORIA_INLINE int64_t depth_of(const RecurrentBlock<T>& block) {
  return block.recurrence == Recurrence::dense ? block.size : 1;
}

// weight_hh (G * H) → (panels, G, W) in the order of the recurrent slots.
template <class T, class CellType>
void pack_diagonal(const CellType& cell, const T* weight, int64_t hidden, Range panels, T* packed) {
  const int G = cell.gates, first = cell.slots - G;
  for (int64_t panel = panels.first; panel < panels.last; ++panel)
    for (int g = 0; g < G; ++g) {
      const int64_t j = panel * width<T>;
      store(packed + (panel * G + g) * width<T>,
            load_some(weight + cell.gate_of[first + g] * hidden + j, hidden - j));
    }
}

// The biases of a panel's slot.
template <class T, class CellType>
NORIA_INLINE Vector<T> bias_of(const CellType& cell, const LayerInputs<T>& in, int64_t panel, int slot) {
  const int64_t j = panel * width<T>, from = cell.gate_of[slot] * in.hidden + j;
  Vector<T> bias = {};
  if (slot < cell.gates) bias = bias + load_some(in.bias_ih + from, in.hidden - j);
  if (slot >= cell.slots - cell.gates && in.bias_hh)
    bias = bias + load_some(in.bias_hh + from, in.hidden - j);
  return bias;
}

// weight_norm (slots, H) and biases → (panels, slots, 2, W).
template <class T, class CellType>
void pack_norm(const CellType& cell, const LayerInputs<T>& in, Range panels, T* packed) {
  const int S = cell.slots;
  for (int64_t panel = panels.first; panel < panels.last; ++panel)
    for (int s = 0; s < S; ++s) {
      const int64_t j = panel * width<T>;
      T* to = packed + (panel * S + s) * 2 * width<T>;
      store(to, load_some(in.weight_norm + s * in.hidden + j, in.hidden - j));
      store(to + width<T>, bias_of(cell, in, panel, s));
    }
}

// An own cell's parameters (P, H) → (panels, P, W).
template <class T>
void pack_parameters(const LayerInputs<T>& in, Range panels, T* packed) {
  const int64_t count = parameters_of(in);
  for (int64_t panel = panels.first; panel < panels.last; ++panel)
    for (int64_t p = 0; p < count; ++p) {
      const int64_t j = panel * width<T>;
      store(packed + (panel * count + p) * width<T>,
            load_some(in.parameters + p * in.hidden + j, in.hidden - j));
    }
}

}  // namespace noria::NORIA_TARGET
