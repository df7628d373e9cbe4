// SPDX-License-Identifier: Apache-2.0
#include "frontends/cli/foreign_format.h"

#include <gtest/gtest.h>

#include <string>

namespace ropekv::cli {
namespace {

// A zip archive's first member.
std::string ZipBytes(const std::string& member) {
  std::string bytes("PK\x03\x04", 4);
  bytes.resize(30);
  bytes[26] = static_cast<char>(member.size());
  return bytes + member + "contents.npy/";
}

TEST(ForeignFormat, TellsZipArchivesApart) {
  EXPECT_EQ(ForeignFormat(ZipBytes("x.npy")), "a NumPy archive (.npz)");
  EXPECT_EQ(ForeignFormat(ZipBytes("model/data.pkl")), "a PyTorch file (torch.save)");
  EXPECT_EQ(ForeignFormat(ZipBytes("notes.txt")), "a zip archive");
  EXPECT_EQ(ForeignFormat("PK\x03\x04"), "a zip archive");
  EXPECT_EQ(ForeignFormat(ZipBytes("x.npy").substr(0, 32)), "a zip archive");
}

TEST(ForeignFormat, KnowsNumPyArrays) {
  EXPECT_EQ(ForeignFormat("\x93NUMPY\x01"), "a NumPy array (.npy)");
}

TEST(ForeignFormat, KnowsPickles) {
  const char* pickle = "a Python pickle, as torch.save wrote before zip archives";
  for (char protocol = 2; protocol <= 5; ++protocol) {
    EXPECT_EQ(ForeignFormat(std::string("\x80") + protocol + "N."), pickle);
  }
  EXPECT_EQ(ForeignFormat("\x80\x06N."), "");
  EXPECT_EQ(ForeignFormat("\x80\x04"), "");
}

// 640, the length of a safetensors header, begins as a pickle does.
TEST(ForeignFormat, ALengthIsNoPickle) {
  EXPECT_EQ(ForeignFormat(std::string("\x80\x02\0\0\0\0\0\0{", 9)), "");
}

TEST(ForeignFormat, KnowsJson) {
  EXPECT_EQ(ForeignFormat("{\n  \"metadata\": {},\n  \"weight_map\": {}\n}"),
            "the index of a model in several safetensors files");
  EXPECT_EQ(ForeignFormat(" \n{\"a\": 1}"), "JSON text");
  EXPECT_EQ(ForeignFormat("  "), "");
  EXPECT_EQ(ForeignFormat(""), "");
}

}  // namespace
}  // namespace ropekv::cli
