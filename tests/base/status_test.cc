#include "base/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace gamelan::base {
namespace {

StatusOr<int> half(int value) {
  if (value % 2 != 0) {
    return invalid_argument("expected an even number, got {}", value);
  }
  return value / 2;
}

StatusOr<int> quarter(int value) {
  GAMELAN_ASSIGN_OR_RETURN(const int once, half(value));
  GAMELAN_ASSIGN_OR_RETURN(const int twice, half(once));
  return twice;
}

Status accept_quarter(int value) {
  GAMELAN_RETURN_IF_ERROR(quarter(value).status());
  return OkStatus();
}

TEST(StatusTest, MacrosPassValuesAndErrors) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(message(quarter(6).status()), "expected an even number, got 3");
  EXPECT_TRUE(accept_quarter(4).ok());
  EXPECT_EQ(accept_quarter(5).code(), StatusCode::kInvalidArgument);
}

TEST(StatusTest, ErrnoStatusNamesTheCallAndItsCause) {
  const Status status = errno_status(ENOENT, "open {}", "/no/such/file");
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(message(status), "open /no/such/file: No such file or directory");
  EXPECT_EQ(errno_status(ENOSPC, "write").code(), StatusCode::kResourceExhausted);
}

TEST(StatusTest, AnnotateKeepsTheCodeAndOk) {
  EXPECT_TRUE(annotate(OkStatus(), "loading").ok());
  const Status status = annotate(data_loss("bad magic"), "model.safetensors");
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(message(status), "model.safetensors: bad magic");
}

TEST(StatusDeathTest, CheckNamesTheInvariant) {
  EXPECT_DEATH(GAMELAN_CHECK(1 == 2, "counts {} and {}", 1, 2), "bug in Gamelan.*1 == 2.*1 and 2");
}

}  // namespace
}  // namespace gamelan::base
