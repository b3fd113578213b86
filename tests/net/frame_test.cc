#include "net/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "net/wire.h"
#include "tests/net/net_fixtures.h"

namespace gamelan::net {
namespace {

using testing::bytes_of;
using ::testing::HasSubstr;

constexpr FrameFormat kFormat{{'T', 'E', 'S', 'T'}, 3, 1 << 20};

std::string frame_of(std::uint16_t kind, std::uint32_t id, std::string_view body) {
  std::string out;
  begin_frame(out);
  out.append(body);
  finish_frame(kFormat, kind, id, out);
  return out;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void feed(FrameReader& reader, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::span<std::byte> space = reader.space();
    const std::size_t count = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), count);
    reader.commit(count);
    bytes.remove_prefix(count);
  }
}

TEST(FrameTest, HeaderHasTheDocumentedBytes) {
  const std::string frame = frame_of(0x0102, 0x03040506, "abc");
  EXPECT_EQ(frame, std::string("TEST\x03\x00\x02\x01\x06\x05\x04\x03\x03\x00\x00\x00"
                               "abc",
                               19));
}

TEST(FrameTest, FramesComeOutWhateverThePiecesTheyArriveIn) {
  std::string stream;
  std::vector<std::string> bodies = {"", "x", std::string(5000, 'y'), "",
                                     std::string(100'000, 'z')};
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    stream += frame_of(7, static_cast<std::uint32_t>(i), bodies[i]);
  }
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{17}, std::size_t{4096}, stream.size()}) {
    FrameReader reader(kFormat);
    std::size_t seen = 0;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      feed(reader, std::string_view(stream).substr(at, piece));
      while (true) {
        const auto frame = reader.next();
        ASSERT_TRUE(frame.ok()) << frame.status();
        if (!frame->has_value()) {
          break;
        }
        EXPECT_EQ((*frame)->header.kind, 7);
        EXPECT_EQ((*frame)->header.id, seen);
        EXPECT_TRUE(text_of((*frame)->body) == bodies.at(seen));
        ++seen;
      }
    }
    EXPECT_EQ(seen, bodies.size());
    EXPECT_TRUE(reader.buffered().empty());
  }
}

TEST(FrameTest, WrongMagicVersionAndLengthAreRefused) {
  const struct {
    std::size_t offset;
    char byte;
    const char* message;
  } cases[] = {{0, 'X', "begins with \"TEST\""},
               {4, 9, "protocol version 3, got 9"},
               {15, 1, "at most 1048576 bytes, got 16777216"}};
  for (const auto& change : cases) {
    std::string frame = frame_of(1, 1, "");
    frame[change.offset] = change.byte;
    FrameReader reader(kFormat);
    feed(reader, frame);
    const auto result = reader.next();
    EXPECT_EQ(result.status().code(), base::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(base::message(result.status())), HasSubstr(change.message));
  }
  EXPECT_FALSE(decode_frame_header(kFormat, bytes_of("short")).ok());
}

TEST(FrameTest, MemoryFollowsTheBytesThatArriveNotTheLengthAnnounced) {
  FrameReader reader(kFormat);
  std::string frame = frame_of(1, 1, std::string(kFormat.max_body_bytes, 'b'));
  feed(reader, std::string_view(frame).substr(0, 100));
  EXPECT_FALSE(reader.next()->has_value());
  EXPECT_LE(reader.space().size(), 4096u);
}

/// Random bytes and damaged frames: every call ends, nothing is read out of bounds (the sanitizers
/// look), and what comes out is within the limits.
TEST(FrameTest, DamagedStreamsNeverDoHarm) {
  std::mt19937 random(20240601);
  const auto below = [&random](std::size_t limit) { return random() % limit; };
  for (int round = 0; round < 3000; ++round) {
    std::string stream;
    for (std::size_t frames = below(4); frames > 0; --frames) {
      stream +=
          frame_of(static_cast<std::uint16_t>(random()), random(), std::string(below(300), 'b'));
    }
    for (std::size_t changes = below(5); changes > 0 && !stream.empty(); --changes) {
      stream[below(stream.size())] = static_cast<char>(random());
    }
    if (below(2) == 0) {
      stream.resize(below(stream.size() + 1));
    }
    for (std::size_t extra = below(40); extra > 0; --extra) {
      stream += static_cast<char>(random());
    }
    FrameReader reader(kFormat);
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t piece = 1 + below(64);
      feed(reader, std::string_view(stream).substr(at, piece));
      at += piece;
      auto frame = reader.next();
      while (frame.ok() && frame->has_value()) {
        EXPECT_LE((*frame)->body.size(), stream.size());
        frame = reader.next();
      }
      if (!frame.ok()) {
        break;
      }
    }
  }
}

TEST(WireTest, ReadsWhatWasWrittenAndNothingBeyond) {
  std::string out;
  WireWriter writer(out);
  writer.number(std::uint16_t{7});
  writer.number(std::int64_t{-5});
  writer.blob("text");
  writer.number(1.5F);
  WireReader reader(bytes_of(out));
  EXPECT_EQ(reader.number<std::uint16_t>(), 7);
  EXPECT_EQ(reader.number<std::int64_t>(), -5);
  EXPECT_EQ(reader.blob(), "text");
  EXPECT_FALSE(reader.complete());
  EXPECT_EQ(reader.number<float>(), 1.5F);
  EXPECT_TRUE(reader.complete());
  EXPECT_EQ(reader.number<std::uint8_t>(), std::nullopt);
  EXPECT_FALSE(reader.complete());
}

TEST(WireTest, AShortReadSpoilsTheRest) {
  const std::string text(
      "\xff\xff\xff\xff"
      "abc");
  WireReader reader(bytes_of(text));
  EXPECT_EQ(reader.blob(), std::nullopt);  // says 4 GiB, has 3 bytes
  EXPECT_EQ(reader.number<std::uint8_t>(), std::nullopt);
  EXPECT_FALSE(reader.complete());
}

}  // namespace
}  // namespace gamelan::net
