// SPDX-License-Identifier: Apache-2.0
#include "soak/decoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "support/sampler.h"

namespace ropekv::testing {
namespace {

constexpr int64_t kHidden = (kQHeads + 2 * kKvHeads) * kHeadDim;
constexpr int64_t kMostTokens = 16;
constexpr uint32_t kPoison = 0x21212121;

// Room for weights of any kind: scales, offsets, the weight scale, the bias, the activation scale.
constexpr int64_t kWeightBytes = 4 * (4 * kRowBytes + 2 * kHidden + kMostTokens);

}  // namespace

void Tally::Add(const Tally& other) {
  calls += other.calls;
  tokens += other.tokens;
  paddings += other.paddings;
  checked += other.checked;
  refused += other.refused;
  sequences += other.sequences;
  if (wrong.empty()) wrong = other.wrong;
}

Decoder::Decoder(SharedCache& cache, uint64_t seed)
    : cache_(cache),
      rng_(seed),
      sequences_(kSequences),
      x_(kPoolTokens * kHidden * 4),
      weights_(kWeightBytes),
      cos_(kPoolTokens * kHeadDim),
      sin_(cos_),
      q_(kMostTokens * kQHeads * kHeadDim),
      k_(kMostTokens * kKvHeads * kHeadDim),
      v_(k_) {
  NewPlans();
}

bool Decoder::Fail(const std::string& what) {
  if (tally_.wrong.empty()) tally_.wrong = what;
  return false;
}

// With data of its kind in the buffers, where it stays until the next.
Decoder::Way Decoder::MakeWay(int64_t tokens) {
  const Variant& variant = AllVariants()[static_cast<size_t>(
      rng_.Int(0, static_cast<int64_t>(AllVariants().size()) - 1))];
  Shape shape{.batch = tokens,
              .num_q_heads = kQHeads,
              .num_kv_heads = kKvHeads,
              .head_dim = kHeadDim,
              .x_dtype = variant.source,
              .out_dtype = variant.output,
              .cache_layout = CacheLayout::kPaged,
              .cache_shape = {kNumBlocks, kBlockSize},
              .kv_output = rng_.Chance(0.5),
              .offsets = rng_.Chance(0.5)};
  if (variant.source == DType::kI32) {
    shape.activation_scale = rng_.Chance(0.5);
    shape.bias_dtype = rng_.Pick({DType::kNone, DType::kF32, DType::kF16, DType::kI32});
  }
  Spec spec = DenseSpec(shape);
  spec.numerics = variant.numerics;
  const Flavour flavour = rng_.Chance(0.8) ? Flavour::kPlain : Flavour::kTies;
  Spec pool = spec;
  pool.x.shape[0] = pool.cos.shape[0] = pool.sin.shape[0] = kPoolTokens;
  FillInput(rng_, pool, TensorId::kX, flavour, x_.data());
  FillInput(rng_, pool, TensorId::kCos, flavour, cos_.data());
  FillInput(rng_, pool, TensorId::kSin, flavour, sin_.data());
  const Args args = ArgsFor(0);
  for (const TensorId id :
       {TensorId::kScaleK, TensorId::kScaleV, TensorId::kOffsetK, TensorId::kOffsetV,
        TensorId::kWeightScale, TensorId::kBias, TensorId::kActivationScale}) {
    const TensorField& field = kTensorFields[static_cast<size_t>(id)];
    if (!(spec.*field.spec).present()) continue;
    FillInput(rng_, spec, id, flavour, const_cast<void*>(args.*field.input));
  }
  Plan plan = MakePlan(spec).value();
  Plan bound = BindWeights(plan, args).value();
  return {spec, std::move(plan), std::move(bound)};
}

void Decoder::NewPlans() {
  ways_.clear();
  slots_.assign(static_cast<size_t>(rng_.Int(1, kMostTokens)), -1);
  ways_.push_back(MakeWay(static_cast<int64_t>(slots_.size())));
}

Args Decoder::ArgsFor(int64_t first_token) {
  Args args;
  const int64_t element = ways_.empty() ? 4 : ElementBytes(ways_[0].spec.x.dtype);
  args.x = x_.data() + first_token * kHidden * element;
  const int64_t angle = ways_.empty() ? 4 : ElementBytes(ways_[0].spec.cos.dtype);
  args.cos = reinterpret_cast<const uint8_t*>(cos_.data()) + first_token * kHeadDim * angle;
  args.sin = reinterpret_cast<const uint8_t*>(sin_.data()) + first_token * kHeadDim * angle;
  args.k_cache = cache_.k.data();
  args.v_cache = cache_.v.data();
  args.indices = slots_.data();
  const uint8_t* weight = weights_.data();
  const auto take = [&](int64_t count) { return std::exchange(weight, weight + count * 4); };
  args.scale_k = take(kRowBytes);
  args.scale_v = take(kRowBytes);
  args.offset_k = take(kRowBytes);
  args.offset_v = take(kRowBytes);
  args.weight_scale = take(kHidden);
  args.bias = take(kHidden);
  args.activation_scale = take(kMostTokens);
  args.q = q_.data();
  args.k = k_.data();
  args.v = v_.data();
  return args;
}

// The slot of the next token; nothing if there is no block for it now.
std::optional<int32_t> Decoder::NextSlot(Sequence& sequence) {
  if (sequence.length == static_cast<int64_t>(sequence.blocks.size()) * kBlockSize) {
    const std::optional<int32_t> block = cache_.blocks.Take();
    if (!block) return std::nullopt;
    sequence.blocks.push_back(*block);
  }
  return static_cast<int32_t>(sequence.blocks.back() * kBlockSize + sequence.length % kBlockSize);
}

// Nobody else has written to the rows of the sequence.
bool Decoder::Finish(Sequence& sequence) {
  bool same = true;
  for (int64_t i = 0; i < sequence.length; ++i) {
    const auto slot = static_cast<int32_t>(
        sequence.blocks[static_cast<size_t>(i / kBlockSize)] * kBlockSize + i % kBlockSize);
    same = same &&
           std::memcmp(RowOf(cache_.k, slot), sequence.k.data() + i * kRowBytes, kRowBytes) == 0 &&
           std::memcmp(RowOf(cache_.v, slot), sequence.v.data() + i * kRowBytes, kRowBytes) == 0;
  }
  cache_.blocks.Return(sequence.blocks);
  sequence = {};
  ++tally_.sequences;
  return same || Fail("rows of a sequence changed after they had been written");
}

void Decoder::End() {
  for (Sequence& sequence : sequences_) Finish(sequence);
}

// Makes the call bad in one way, which must be noticed before a byte is written.
bool Decoder::Refused(const Way& way, Args args) {
  std::vector<int32_t> slots = slots_;
  args.indices = slots.data();
  StatusCode code = StatusCode::kBadIndex;
  const auto at = static_cast<size_t>(rng_.Int(0, static_cast<int64_t>(slots.size()) - 1));
  switch (rng_.Int(0, 3)) {
    case 0: slots[at] = static_cast<int32_t>(kNumBlocks * kBlockSize + rng_.Int(0, 99)); break;
    case 1:
      if (slots.size() < 2) return true;
      slots[at] = slots[at ? 0 : 1] = 5;  // another's, perhaps
      break;
    case 2:
      args.q = nullptr;
      code = StatusCode::kNullPointer;
      break;
    default:
      args.x = static_cast<const uint8_t*>(args.x) + 1;
      code = StatusCode::kBadPointer;
      break;
  }
  std::fill(q_.begin(), q_.end(), kPoison);
  const Status status = Run(way.plan, args);
  ++tally_.refused;
  const auto is_poison = [](uint32_t value) { return value == kPoison; };
  if (status.code() != code) return Fail("a bad call gave: " + status.message());
  return std::all_of(q_.begin(), q_.end(), is_poison) || Fail("a bad call wrote to q");
}

// The reference, into memory of its own.
bool Decoder::CheckResult(const Way& way, const Args& args) {
  std::vector<uint32_t> q(q_), k(k_), v(v_);
  std::vector<int8_t> k_cache(slots_.size() * kRowBytes), v_cache(k_cache);
  std::vector<int32_t> slots(slots_.size());
  for (size_t i = 0; i < slots.size(); ++i) slots[i] = slots_[i] < 0 ? -1 : static_cast<int32_t>(i);
  Spec spec = way.spec;
  spec.k_cache = spec.v_cache =
      Dense(DType::kI8, {1, static_cast<int64_t>(slots.size()), kKvHeads, kHeadDim});
  Args own = args;
  own.q = q.data();
  own.k = k.data();
  own.v = v.data();
  own.k_cache = k_cache.data();
  own.v_cache = v_cache.data();
  own.indices = slots.data();
  const Status status = RunReference(MakePlan(spec).value(), own);
  ++tally_.checked;
  if (!status.ok()) return Fail("the reference: " + status.message());
  bool same = q == q_ && k == k_ && v == v_;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots_[i] < 0) continue;
    same = same &&
           std::memcmp(RowOf(k_cache, static_cast<int32_t>(i)), RowOf(cache_.k, slots_[i]),
                       kRowBytes) == 0 &&
           std::memcmp(RowOf(v_cache, static_cast<int32_t>(i)), RowOf(cache_.v, slots_[i]),
                       kRowBytes) == 0;
  }
  return same || Fail("bytes differ from the reference's");
}

bool Decoder::Step() {
  if (rng_.Chance(0.005)) NewPlans();
  const Way& way = ways_[0];
  std::vector<Sequence*> owners(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i] = -1;
    Sequence& sequence = sequences_[i % kSequences];
    if (i >= kSequences || rng_.Chance(0.1)) continue;
    if (sequence.end == 0) sequence.end = rng_.Int(1, 200);
    if (sequence.length == sequence.end && !Finish(sequence)) return false;
    if (sequence.end == 0) continue;
    const std::optional<int32_t> slot = NextSlot(sequence);
    if (!slot) {
      // Or all wait for each other's blocks.
      if (rng_.Chance(0.2) && !Finish(sequence)) return false;
      continue;
    }
    slots_[i] = *slot;
    owners[i] = &sequence;
  }
  const Args args = ArgsFor(rng_.Int(0, kPoolTokens - kMostTokens));
  if (rng_.Chance(0.05) && !Refused(way, args)) return false;

  const RunOptions options = {.num_threads = static_cast<int>(rng_.Int(0, 2))};
  const Status status = Run(rng_.Chance(0.5) ? way.bound : way.plan, args, options);
  if (!status.ok()) return Fail(status.message());
  ++tally_.calls;
  for (size_t i = 0; i < slots_.size(); ++i) {
    Sequence* const sequence = owners[i];
    ++(sequence ? tally_.tokens : tally_.paddings);
    if (!sequence) continue;
    ++sequence->length;
    const int8_t* const k = RowOf(cache_.k, slots_[i]);
    const int8_t* const v = RowOf(cache_.v, slots_[i]);
    sequence->k.insert(sequence->k.end(), k, k + kRowBytes);
    sequence->v.insert(sequence->v.end(), v, v + kRowBytes);
  }
  return !rng_.Chance(0.1) || CheckResult(way, args);
}

}  // namespace ropekv::testing
