#include <gtest/gtest.h>

#include "net/socket.h"

namespace gamelan::net {
namespace {

TEST(EndpointTest, ParsesHostsAddressesAndDefaults) {
  EXPECT_EQ(*parse_endpoint("node0:29500"), (Endpoint{"node0", 29500}));
  EXPECT_EQ(*parse_endpoint("10.0.0.1:0"), (Endpoint{"10.0.0.1", 0}));
  EXPECT_EQ(*parse_endpoint("[::1]:80"), (Endpoint{"::1", 80}));
  EXPECT_EQ(*parse_endpoint(":65535"), (Endpoint{"", 65535}));
  EXPECT_EQ(*parse_endpoint("node0", 29500), (Endpoint{"node0", 29500}));
  EXPECT_EQ(*parse_endpoint("[fe80::1]", 1), (Endpoint{"fe80::1", 1}));
}

TEST(EndpointTest, RoundTrips) {
  for (const char* text : {"node0:1", "[2001:db8::7]:29500", ":29400"}) {
    EXPECT_EQ(to_string(*parse_endpoint(text)), text);
  }
}

TEST(EndpointTest, ErrorsQuoteTheTextAndSayWhatWasExpected) {
  for (const char* text : {"", "node0", "node0:", "node0:65536", "node0:-1", "node0:12x", "::1:80",
                           "[::1:80", "[]:80", "[::1]80", "a b:80", "tcp://node0:80"}) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_FALSE(endpoint.ok()) << text;
    EXPECT_EQ(endpoint.status().code(), base::StatusCode::kInvalidArgument);
    EXPECT_NE(base::message(endpoint.status()).find(text), std::string_view::npos)
        << endpoint.status();
  }
  EXPECT_EQ(base::message(parse_endpoint("node0:65536").status()),
            "endpoint 'node0:65536': expected a port from 0 to 65535, got '65536'");
  EXPECT_NE(base::message(parse_endpoint("node0").status()).find("port number missing"),
            std::string_view::npos);
}

}  // namespace
}  // namespace gamelan::net
