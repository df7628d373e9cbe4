// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "frontends/cli/errors.h"
#include "tests/cli/scratch.h"

namespace ropekv::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string FileBytes(uint64_t length, const std::string& header, size_t data_bytes) {
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + std::string(data_bytes, '\x11');
}

std::string FileBytes(const std::string& header, size_t data_bytes) {
  return FileBytes(header.size(), header, data_bytes);
}

// What the reader says, without the path; empty if it accepts.
std::string Refusal(const std::string& bytes) {
  const Scratch scratch;
  const std::string path = scratch / "hostile";
  WriteWhole(path, bytes);
  try {
    const SafetensorsReader reader(path);
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), StartsWith(path + ": "));
    return std::string(error.what()).substr(path.size() + 2);
  }
  return "";
}

std::string Tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string One(const std::string& tensor) { return R"({"x":)" + tensor + "}"; }

std::string Two(const std::string& first, const std::string& second) {
  return R"({"x":)" + first + R"(,"y":)" + second + "}";
}

struct Hostile {
  const char* name;
  std::string header;
  size_t data_bytes;
  const char* message;
};

// For GoogleTest, which would print the bytes.
void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

class HostileHeader : public testing::TestWithParam<Hostile> {};

TEST_P(HostileHeader, IsRefusedWithAReason) {
  EXPECT_EQ(Refusal(FileBytes(GetParam().header, GetParam().data_bytes)), GetParam().message);
}

const Hostile kHostileHeaders[] = {
    {"EndBeyondTheFile", One(Tensor("I8", "[5]", "[0,5]")), 4,
     "tensor 'x': data_offsets [0, 5] end beyond the file's 4 data bytes (truncated?)"},
    {"HugeOffsets", One(Tensor("I8", "[5]", "[18446744073709551610,18446744073709551615]")), 4,
     "tensor 'x': data_offsets [18446744073709551610, 18446744073709551615] end beyond the file's "
     "4 data bytes (truncated?)"},
    {"Backwards", One(Tensor("I8", "[4]", "[4,0]")), 4,
     "tensor 'x': data_offsets [4, 0] run backwards"},
    {"Overlap", Two(Tensor("I8", "[4]", "[0,4]"), Tensor("I8", "[4]", "[2,6]")), 6,
     "tensor 'y': begins at data byte 2, overlapping 4, where the data before it ends"},
    {"SameBytes", Two(Tensor("I8", "[4]", "[0,4]"), Tensor("I8", "[4]", "[0,4]")), 4,
     "tensor 'y': begins at data byte 0, overlapping 4, where the data before it ends"},
    {"HoleBetween", Two(Tensor("I8", "[2]", "[0,2]"), Tensor("I8", "[2]", "[4,6]")), 6,
     "tensor 'y': begins at data byte 4, leaving a gap after 2, where the data before it ends"},
    {"HoleAtTheBeginning", One(Tensor("I8", "[2]", "[2,4]")), 4,
     "tensor 'x': begins at data byte 2, leaving a gap after 0, where the data before it ends"},
    {"HoleAtTheEnd", One(Tensor("I8", "[2]", "[0,2]")), 5,
     "3 bytes at its end belong to no tensor"},
    {"DataWithoutTensors", "{}", 5, "5 bytes at its end belong to no tensor"},
    {"ShapeTooSmall", One(Tensor("F16", "[3]", "[0,8]")), 8,
     "tensor 'x': its shape needs 6 bytes, data_offsets [0, 8] hold 8"},
    {"ShapeTooLarge", One(Tensor("F16", "[3,2]", "[0,8]")), 8,
     "tensor 'x': its shape needs 12 bytes, data_offsets [0, 8] hold 8"},
    {"ProductWrapsToTheRightSize", One(Tensor("I8", "[4294967296,4294967296]", "[0,0]")), 0,
     "tensor 'x': the product of its shape overflows"},
    {"ProductOverflowsBehindAZero", One(Tensor("F32", "[0,4294967296,4294967296]", "[0,0]")), 0,
     "tensor 'x': the product of its shape overflows"},
    {"ExtentBeyondInt64", One(Tensor("I8", "[9223372036854775808,0]", "[0,0]")), 0,
     "tensor 'x': the product of its shape overflows"},
    {"ExtentBeyondUint64", One(Tensor("I8", "[18446744073709551616]", "[0,0]")), 0,
     "tensor 'x': unexpected '18446744073709551616', which is not a 64-bit integer, in 'shape'"},
    {"NegativeExtent", One(Tensor("I8", "[-1]", "[0,0]")), 0,
     "tensor 'x': unexpected a negative number in 'shape'"},
    {"FractionalExtent", One(Tensor("I8", "[1.0]", "[0,1]")), 1,
     "tensor 'x': unexpected '1.0', which is not a 64-bit integer, in 'shape'"},
    {"I64TooSmall", One(Tensor("I64", "[2]", "[0,8]")), 8,
     "tensor 'x': its shape needs 16 bytes, data_offsets [0, 8] hold 8"},
    {"OneOffset", One(Tensor("I8", "[1]", "[0]")), 1,
     "tensor 'x': data_offsets must be two numbers"},
    {"ThreeOffsets", One(Tensor("I8", "[1]", "[0,1,1]")), 1,
     "tensor 'x': data_offsets must be two numbers"},
    {"NoDType", R"({"x":{"shape":[1],"data_offsets":[0,1]}})", 1, "tensor 'x': dtype is missing"},
    {"NoShape", R"({"x":{"dtype":"I8","data_offsets":[0,1]}})", 1, "tensor 'x': shape is missing"},
    {"NoOffsets", R"({"x":{"dtype":"I8","shape":[1]}})", 1, "tensor 'x': data_offsets is missing"},
    {"DuplicateName",
     R"({"x":)" + Tensor("I8", "[1]", "[0,1]") + R"(,"x":)" + Tensor("I8", "[1]", "[1,2]") + "}", 2,
     "the header has 'x' twice"},
    {"DuplicateMetadata", R"({"__metadata__":{},"__metadata__":{}})", 0,
     "the header has '__metadata__' twice"},
    {"DuplicateField", R"({"x":{"dtype":"I8","shape":[1],"shape":[2],"data_offsets":[0,1]}})", 1,
     "tensor 'x': shape given twice"},
    {"DuplicateMetadataKey", R"({"__metadata__":{"a":"1","a":"2"}})", 0,
     "metadata 'a': given twice"},
    {"UnknownField", R"({"x":{"dtype":"I8","strides":[1]}})", 0,
     "tensor 'x': unknown field 'strides'"},
    {"NumberAsMetadata", R"({"__metadata__":{"kv_output":1}})", 0,
     "metadata 'kv_output': must be a string, found a number"},
    {"BooleanAsMetadata", R"({"__metadata__":{"kv_output":true}})", 0,
     "metadata 'kv_output': must be a string, found a boolean"},
    {"ObjectAsMetadata", R"({"__metadata__":{"kv_output":{}}})", 0,
     "metadata 'kv_output': must be a string, found an object"},
    {"MetadataIsAString", R"({"__metadata__":"page"})", 0,
     "entry '__metadata__': must be an object, found a string"},
    {"TensorIsNull", R"({"x":null})", 0, "entry 'x': must be an object, found null"},
    {"DTypeIsAnArray", R"({"x":{"dtype":["I8"]}})", 0,
     "tensor 'x': unexpected an array in 'dtype'"},
    {"ShapeIsANumber", R"({"x":{"shape":4}})", 0, "tensor 'x': unexpected a number in 'shape'"},
    {"ShapeHoldsAString", R"({"x":{"shape":["4"]}})", 0,
     "tensor 'x': unexpected a string in 'shape'"},
    {"NestedArray", R"({"x":{"shape":[[4]]}})", 0, "tensor 'x': unexpected an array in 'shape'"},
    {"NotJson", "{\"x\": oops}", 0, "the header is not valid JSON at its byte 7"},
    {"UnclosedJson", R"({"x":{)", 0, "the header is not valid JSON at its byte 7"},
    {"TwoDocuments", "{}{}", 0, "the header is not valid JSON at its byte 3"},
    {"InvalidUtf8", "{\"\xFF\":{}}", 0, "the header is not valid JSON at its byte 3"},
    {"TextAfterANul", std::string("{}\0garbage", 10), 0, "the header contains a NUL byte"},
    {"AnArray", "[]", 0, "not a safetensors file"},
    {"LeadingSpace", " {}", 0, "not a safetensors file"},
    {"EmptyHeader", "", 0, "not a safetensors file"},
    {"NewlineInAName", R"({"a\nb":null})", 0, "entry 'a\\x0ab': must be an object, found null"},
};

INSTANTIATE_TEST_SUITE_P(Each, HostileHeader, testing::ValuesIn(kHostileHeaders),
                         [](const auto& hostile) { return hostile.param.name; });

TEST(HostileFile, NestingBombsEndWhereTheyBegin) {
  const std::string arrays(500000, '[');
  EXPECT_EQ(Refusal(FileBytes(R"({"x":)" + arrays, 0)),
            "entry 'x': must be an object, found an array");
  std::string objects = "{";
  for (int i = 0; i < 100000; ++i) objects += R"("a":{)";
  EXPECT_EQ(Refusal(FileBytes(objects, 0)), "tensor 'a': unknown field 'a'");
}

TEST(HostileFile, LengthsAreNotTrusted) {
  EXPECT_EQ(Refusal(""), "not a safetensors file: 0 bytes");
  EXPECT_EQ(Refusal("1234567"), "not a safetensors file: 7 bytes");
  EXPECT_EQ(Refusal(FileBytes(3, "{}", 0)), "truncated: a header of 3 bytes in a file of 10");
  for (uint64_t length : {uint64_t{100'000'001}, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_THAT(Refusal(FileBytes(length, "{}", 0)), HasSubstr("not a safetensors file: a header"));
  }
}

TEST(HostileFile, OtherFormatsAreNamed) {
  EXPECT_EQ(Refusal(std::string("PK\x03\x04").append(30, '\1')),
            "this is a zip archive, not a safetensors file");
  EXPECT_EQ(Refusal("{}"), "this is JSON text, not a safetensors file");
  // A pickle's first eight bytes, its protocol and the size of a frame, are a legal length.
  EXPECT_THAT(Refusal(std::string("\x80\x04\x95\x05\0\0\0\0\0\0\0]\x94(K\x01.", 17)),
              StartsWith("this is a Python pickle"));
}

// Its length begins as a pickle does.
TEST(HostileFile, ATruncatedFileIsNoPickle) {
  EXPECT_EQ(Refusal(FileBytes(0x0280, "{", 0)), "truncated: a header of 640 bytes in a file of 9");
}

TEST(HostileFile, LongNamesAreCutShort) {
  const std::string refusal = Refusal(FileBytes("{\"" + std::string(5000, 'n') + "\":1}", 0));
  EXPECT_EQ(refusal, "entry '" + std::string(80, 'n') + "...': must be an object, found a number");
}

TEST(HostileFile, DirectoriesAndPipesAreNotRead) {
  const Scratch scratch;
  EXPECT_THROW(SafetensorsReader{scratch.path()}, InputError);
  ASSERT_EQ(std::system(("mkfifo " + scratch / "pipe").c_str()), 0);
  EXPECT_THROW(SafetensorsReader{scratch / "pipe"}, InputError);
  EXPECT_THROW(SafetensorsReader{scratch / "absent"}, InputError);
}

std::string ValidFile() {
  return FileBytes(R"({"__metadata__":{"size_splits":"4,2,2"},"x":)" +
                       Tensor("F32", "[2,2]", "[0,16]") + R"(,"empty":)" +
                       Tensor("I8", "[3,0]", "[16,16]") + R"(,"scalar":)" +
                       Tensor("BF16", "[]", "[16,18]") + "}  ",
                   18);
}

TEST(HostileFile, EveryTruncationIsRefused) {
  const std::string whole = ValidFile();
  ASSERT_EQ(Refusal(whole), "");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(Refusal(whole.substr(0, size)), "") << size << " bytes";
  }
}

// No assertion but the one in Refusal: whatever the bytes, an InputError or a checked header.
TEST(HostileFile, RandomDamageNeverDoesWorse) {
  std::mt19937_64 random(1);
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = ValidFile();
    for (uint64_t flips = random() % 4 + 1; flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    refused += Refusal(bytes).empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 1000);
}

TEST(Safetensors, ReadsWhatItHolds) {
  const Scratch scratch;
  WriteWhole(scratch / "f", ValidFile());
  SafetensorsReader reader(scratch / "f");
  ASSERT_EQ(reader.tensors().size(), 3u);
  EXPECT_EQ(reader.metadata(), (Metadata{{"size_splits", "4,2,2"}}));
  const StoredTensor* x = reader.Find("x");
  ASSERT_NE(x, nullptr);
  EXPECT_EQ(x->dtype, "F32");
  EXPECT_EQ(x->shape, (std::vector<int64_t>{2, 2}));
  EXPECT_TRUE(reader.Find("scalar")->shape.empty());
  EXPECT_EQ(reader.Find("absent"), nullptr);
  std::vector<std::byte> bytes(16);
  reader.Read(*x, bytes);
  EXPECT_EQ(bytes, std::vector<std::byte>(16, std::byte{0x11}));
}

// In alphabetical order, as MLX writes them, tensors are where the one before happens to end.
TEST(Safetensors, ReadsWhatIsMisaligned) {
  const Scratch scratch;
  const std::string header =
      Two(Tensor("I8", "[1]", "[0,1]"), Tensor("F32", "[1]", "[1,5]")) + "   ";
  WriteWhole(scratch / "f", FileBytes(header, 0) + "abcde");
  SafetensorsReader reader(scratch / "f");
  std::string y(4, '\0');
  reader.Read(*reader.Find("y"), std::as_writable_bytes(std::span(y)));
  reader.Finish();
  EXPECT_EQ(y, "bcde");
}

// Of a tensor that nobody reads, the dtype need not be known.
TEST(Safetensors, TakesEveryDType) {
  EXPECT_EQ(
      Refusal(FileBytes(Two(Tensor("F4", "[3,2]", "[0,3]"), Tensor("f32", "[9]", "[3,5]")), 5)),
      "");
}

// A file of a model with many experts has tens of thousands of tensors.
TEST(Safetensors, ReadsLongHeaders) {
  const Scratch scratch;
  std::string header = "{";
  for (int i = 0; i < 30000; ++i) {
    header += fmt::format("\"tensor {}\":{},", i, Tensor("I8", "[0]", "[0,0]"));
  }
  header.back() = '}';
  ASSERT_GT(header.size(), size_t{1} << 20);
  EXPECT_EQ(Refusal(FileBytes(header, 0)), "");
}

TEST(Safetensors, AlignsWhatItWrites) {
  const Scratch scratch;
  const std::vector<int64_t> three = {3}, pair = {1, 2};
  const std::string i8 = "abc", f32 = "01234567", f16 = "ABCDEF";
  WriteSafetensors(scratch / "f",
                   {{"small", DType::kI8, three, std::as_bytes(std::span(i8))},
                    {"half", DType::kF16, three, std::as_bytes(std::span(f16))},
                    {"wide", DType::kF32, pair, std::as_bytes(std::span(f32))}},
                   {{"note", "a \"quoted\" one"}});
  const std::string bytes = ReadWhole(scratch / "f");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  EXPECT_EQ(length % 8, 0u);
  EXPECT_EQ(bytes.substr(8 + length), f32 + f16 + i8);
  const SafetensorsReader reader(scratch / "f");
  EXPECT_EQ(reader.Find("half")->shape, three);
  EXPECT_EQ(reader.metadata().at("note"), "a \"quoted\" one");
  EXPECT_EQ(scratch.Files(), std::set<std::string>{"f"});
}

}  // namespace
}  // namespace ropekv::cli
