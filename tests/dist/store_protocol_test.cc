#include "dist/store/store_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tests/dist/store_fixtures.h"

namespace gamelan::dist {
namespace {

using base::StatusCode;

std::span<const std::byte> body_of(const std::string& frame) {
  return std::as_bytes(std::span(frame)).subspan(net::kFrameHeaderBytes);
}

std::uint16_t kind_of(const std::string& frame) {
  return net::decode_frame_header(kStoreFrames, std::as_bytes(std::span(frame)))->kind;
}

StoreRequest some_request() {
  StoreRequest request;
  request.op = StoreOp::kMultiSet;
  request.keys = {"a", "", "key"};
  request.values = {"1", std::string("\0\xff", 2), ""};
  request.delta = -3;
  return request;
}

TEST(StoreProtocolTest, RequestsRoundTrip) {
  const StoreRequest request = some_request();
  std::string frame;
  encode_request(request, 1500, 42, frame);
  EXPECT_EQ(net::decode_frame_header(kStoreFrames, std::as_bytes(std::span(frame)))->id, 42u);
  const auto decoded = decode_request(kind_of(frame), body_of(frame));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->timeout_ms, 1500u);
  EXPECT_EQ(decoded->request.op, request.op);
  EXPECT_EQ(decoded->request.keys, request.keys);
  EXPECT_EQ(decoded->request.values, request.values);
  EXPECT_EQ(decoded->request.delta, -3);
}

TEST(StoreProtocolTest, AnAddHasTheDocumentedBytes) {
  StoreRequest request;
  request.op = StoreOp::kAdd;
  request.keys = {"n"};
  request.delta = 2;
  std::string frame;
  encode_request(request, 0x0102, 5, frame);
  const char expected[] =
      "GSTR\x01\x00\x03\x00\x05\x00\x00\x00\x19\x00\x00\x00"  // header: kind 3, id 5, 25 bytes
      "\x02\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"      // time-out, delta
      "\x01\x00\x00\x00\x01\x00\x00\x00n\x00\x00\x00\x00";    // keys, values
  EXPECT_EQ(frame, std::string(expected, sizeof(expected) - 1));
}

TEST(StoreProtocolTest, RepliesAndErrorsRoundTrip) {
  StoreReply reply;
  reply.number = -7;
  reply.values = {"x", ""};
  std::string frame;
  encode_reply(reply, 1, frame);
  const auto decoded = decode_reply(kind_of(frame), body_of(frame));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->number, -7);
  EXPECT_EQ(decoded->values, reply.values);
  encode_reply(base::deadline_exceeded("too {}", "late"), 1, frame);
  EXPECT_EQ(decode_reply(kind_of(frame), body_of(frame)).status(),
            base::deadline_exceeded("too late"));
}

TEST(StoreProtocolTest, EveryTruncationAndAnyExtraByteIsRefused) {
  std::string frame;
  encode_request(some_request(), 1, 1, frame);
  const std::uint16_t kind = kind_of(frame);
  for (std::size_t size = net::kFrameHeaderBytes; size < frame.size(); ++size) {
    EXPECT_EQ(decode_request(kind, body_of(frame.substr(0, size))).status().code(),
              StatusCode::kDataLoss);
  }
  EXPECT_FALSE(decode_request(kind, body_of(frame + "x")).ok());
  encode_reply(StoreReply{{"v"}, 1}, 1, frame);
  for (std::size_t size = net::kFrameHeaderBytes; size < frame.size(); ++size) {
    EXPECT_EQ(decode_reply(kReplyKind, body_of(frame.substr(0, size))).status().code(),
              StatusCode::kDataLoss);
  }
  EXPECT_FALSE(decode_reply(kReplyKind, body_of(frame + "x")).ok());
  EXPECT_FALSE(decode_reply(77, body_of(frame)).ok());
  encode_reply(base::unavailable("gone"), 1, frame);
  std::memset(frame.data() + net::kFrameHeaderBytes, 0, 4);  // an error with the code "OK"
  EXPECT_FALSE(decode_reply(kErrorKind, body_of(frame)).ok());
}

TEST(StoreProtocolTest, CountsBeyondTheBytesOrTheLimitTakeNoMemory) {
  // 2^32 - 1 keys announced, none there; and as many empty keys as fit a large body.
  std::string huge(net::kFrameHeaderBytes + 12, '\0');
  huge += "\xff\xff\xff\xff";
  EXPECT_FALSE(decode_request(1, body_of(huge)).ok());
  std::string many(net::kFrameHeaderBytes + 12, '\0');
  const std::uint32_t count = 1'000'000;
  many.append(reinterpret_cast<const char*>(&count), sizeof(count));
  many.append(4 * (count + 1), '\0');
  EXPECT_FALSE(decode_request(1, body_of(many)).ok());
}

TEST(StoreProtocolTest, RandomAndDamagedBodiesNeverDoHarm) {
  std::mt19937 random(99);
  std::string request_frame;
  std::string reply_frame;
  encode_request(some_request(), 1, 1, request_frame);
  encode_reply(StoreReply{{"abc", "", "defg"}, 12}, 1, reply_frame);
  for (int round = 0; round < 50'000; ++round) {
    std::string frame = round % 2 == 0 ? request_frame : reply_frame;
    if (random() % 4 == 0) {
      for (std::size_t i = net::kFrameHeaderBytes; i < frame.size(); ++i) {
        frame[i] = static_cast<char>(random());
      }
    }
    for (int change = 0; change < 3; ++change) {
      frame[net::kFrameHeaderBytes + random() % (frame.size() - net::kFrameHeaderBytes)] =
          static_cast<char>(random());
    }
    frame.resize(net::kFrameHeaderBytes + random() % (frame.size() - net::kFrameHeaderBytes + 1));
    const auto kind = static_cast<std::uint16_t>(random() % 140);
    const auto request = decode_request(kind, body_of(frame));
    if (request.ok()) {
      check_store_request(request->request).IgnoreError();
      EXPECT_LE(request->request.keys.size(), frame.size());
    }
    decode_reply(kReplyKind + random() % 2, body_of(frame)).IgnoreError();
  }
}

}  // namespace
}  // namespace gamelan::dist
