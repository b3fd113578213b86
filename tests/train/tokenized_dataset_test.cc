#include "train/data/tokenized_dataset.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "train/torch_view.h"

namespace gamelan::train {
namespace {

using testing::ElementsAre;

text::WordPieceTokenizer tokenizer() {
  text::WordPieceModel model;
  model.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "film", "##s", "good"};
  return value_or_throw(text::WordPieceTokenizer::create(std::move(model)));
}

TEST(TokenizedDatasetTest, TokenizesTruncatesAndPacks) {
  const text::WordPieceTokenizer words = tokenizer();
  TokenizedDataset data(words, 5);
  data.append("A good film", {}, 1);
  data.append("films", {}, 0);
  data.append("good", "a films", 1);
  data.append("", {}, 0);
  ASSERT_EQ(data.size(), 4);
  EXPECT_THAT(data.sequence(0).input_ids, ElementsAre(2, 4, 7, 5, 3));
  EXPECT_THAT(data.sequence(1).input_ids, ElementsAre(2, 5, 6, 3));
  EXPECT_THAT(data.sequence(2).input_ids, ElementsAre(2, 7, 3, 4, 3));
  EXPECT_EQ(data.sequence(2).second_begins, 3u);
  EXPECT_THAT(data.sequence(3).input_ids, ElementsAre(2, 3));
  EXPECT_THAT(data.lengths(), ElementsAre(5, 4, 5, 2));
  EXPECT_THAT(data.labels(), ElementsAre(1, 0, 1, 0));
  EXPECT_EQ(data.tokens(), 16);
  const std::vector<std::size_t> chosen = {3, 1};
  const TextBatch batch = data.batch(chosen, {});
  EXPECT_TRUE(at::equal(batch.input_ids, at::tensor({2, 3, 2, 5, 6, 3}, at::kLong)));
  EXPECT_FALSE(batch.token_type_ids.defined());
  EXPECT_TRUE(data.batch(std::vector<std::size_t>{2}, {}).token_type_ids.defined());
}

}  // namespace
}  // namespace gamelan::train
