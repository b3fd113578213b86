#include "io/text_dataset.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>

#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void write_gz(const std::string& path, std::string_view content) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, content.data(), static_cast<unsigned>(content.size())),
            static_cast<int>(content.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

TextDatasetOptions options_for(DatasetFormat format, std::string text = "text",
                               std::string label = "label") {
  TextDatasetOptions options;
  options.format = format;
  options.columns = {std::move(text), std::move(label)};
  return options;
}

TextDatasetOptions numbered(DatasetFormat format, std::string text, std::string label) {
  TextDatasetOptions options = options_for(format, std::move(text), std::move(label));
  options.has_header = false;
  return options;
}

base::StatusOr<TextDataset> read(std::string_view content, const TextDatasetOptions& options) {
  return read_text_dataset(LineReader::over(content, "data"), options);
}

/// "label:text" of every row, labels by name.
std::vector<std::string> rows(const base::StatusOr<TextDataset>& dataset) {
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  std::vector<std::string> rows;
  if (dataset.ok()) {
    for (const TextExample& example : dataset->examples) {
      rows.push_back(dataset->labels.at(static_cast<std::size_t>(example.label)) + ":" +
                     example.text);
    }
  }
  return rows;
}

std::string error_of(const base::StatusOr<TextDataset>& dataset) {
  return dataset.ok() ? "no error" : std::string(dataset.status().message());
}

TEST(TextDataset, TsvWithAHeader) {
  const auto data = read("id\tlabel\ttext\r\n7\tgood\ta \"quote\" stays\r\n8\tbad\tb\r\n",
                         options_for(DatasetFormat::kTsv));
  EXPECT_THAT(rows(data), ElementsAre("good:a \"quote\" stays", "bad:b"));
  EXPECT_THAT(data->labels, ElementsAre("bad", "good"));
}

TEST(TextDataset, TsvByNumbers) {
  const auto data =
      read("1\t9\t0\tfirst\n0\t2\t1\tsecond", numbered(DatasetFormat::kTsv, "3", "0"));
  EXPECT_THAT(rows(data), ElementsAre("1:first", "0:second"));
  EXPECT_THAT(rows(read("text\tlabel\na\tx\n", options_for(DatasetFormat::kTsv, "0", "1"))),
              ElementsAre("x:a"));
}

TEST(TextDataset, ClassesThatAreNumbersAreSortedByValue) {
  const auto data = read("a\t10\nb\t9\nc\t-1\n", numbered(DatasetFormat::kTsv, "0", "1"));
  EXPECT_THAT(data->labels, ElementsAre("-1", "9", "10"));
  EXPECT_EQ(data->examples[0].label, 2);
}

TEST(TextDataset, CsvQuotes) {
  const auto data =
      read("text,label\n\"a, \"\"b\"\"\nsecond line\r\nthird\",x\n,y\n\"\",y\nplain,\"z\"\n",
           options_for(DatasetFormat::kCsv));
  EXPECT_THAT(rows(data), ElementsAre("x:a, \"b\"\nsecond line\nthird", "y:", "y:", "z:plain"));
}

TEST(TextDataset, JsonLines) {
  const auto data =
      read("{\"text\": \"a\\n\\u00e9\", \"label\": 1}\n\n{\"label\": 0, \"text\": \"b\"}",
           options_for(DatasetFormat::kJsonl));
  EXPECT_THAT(rows(data), ElementsAre("1:a\n\u00e9", "0:b"));
  EXPECT_THAT(rows(read(R"({"sentence": "a", "y": true, "other": [1]})",
                        options_for(DatasetFormat::kJsonl, "sentence", "y"))),
              ElementsAre("1:a"));
}

TEST(TextDataset, SignOfARating) {
  TextDatasetOptions options = numbered(DatasetFormat::kTsv, "2", "1");
  options.label_transform = LabelTransform::kSign;
  const auto data = read("1\t-2.2\tbad\r\n2\t0.0\tso so\r\n3\t3.45\tgood\r\n", options);
  EXPECT_THAT(rows(data), ElementsAre("negative:bad", "positive:good"));
  EXPECT_THAT(error_of(read("1\tx\tbad\n", options)),
              HasSubstr("data:1: expected a number as label, got 'x'"));
  EXPECT_THAT(error_of(read("1\tnan\tbad\n", options)), HasSubstr("expected a number as label"));
}

TEST(TextDataset, GivenClassesKeepTheirOrder) {
  TextDatasetOptions options = numbered(DatasetFormat::kTsv, "0", "1");
  options.labels = {"pos", "neg", "none"};
  const auto data = read("a\tneg\nb\tpos\n", options);
  EXPECT_EQ(data->examples[0].label, 1);
  EXPECT_THAT(data->labels, ElementsAre("pos", "neg", "none"));
  EXPECT_THAT(error_of(read("a\tneg\nb\tPOS\n", options)),
              HasSubstr("data:2: expected one of the labels pos, neg, none, got 'POS'"));
}

TEST(TextDataset, InvalidBytesBecomeReplacementCharacters) {
  EXPECT_THAT(rows(read("a\xff"
                        "b\t1\n",
                        numbered(DatasetFormat::kTsv, "0", "1"))),
              ElementsAre("1:a\uFFFDb"));
}

TEST(TextDataset, AByteOrderMarkIsDropped) {
  EXPECT_THAT(rows(read("\uFEFFtext\tlabel\na\t1\n", options_for(DatasetFormat::kTsv))),
              ElementsAre("1:a"));
}

TEST(TextDataset, GzipIsReadLikePlainText) {
  const TemporaryFolder folder;
  std::string content = "text\tlabel\n";
  std::vector<std::string> expected;
  for (int i = 0; i < 100'000; ++i) {
    content += fmt::format("text number {}\t{}\n", i, i % 2);
    expected.push_back(fmt::format("{}:text number {}", i % 2, i));
  }
  write_gz(folder.file("a.tsv.gz"), content);
  EXPECT_EQ(rows(load_text_dataset(folder.file("a.tsv.gz"))), expected);
  EXPECT_EQ(rows(load_text_dataset(folder.write("a.tsv", content))), expected);
}

TEST(TextDatasetBadInput, Gzip) {
  const TemporaryFolder folder;
  std::string noise = "text\tlabel\n";
  for (unsigned i = 0; i < 30'000; ++i) {
    noise += fmt::format("{}\t{}\n", i * 2654435761U, i % 2);
  }
  write_gz(folder.file("good.tsv.gz"), noise);
  const std::string bytes = folder.read("good.tsv.gz");
  folder.write("short.tsv.gz", bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(error_of(load_text_dataset(folder.file("short.tsv.gz"))),
              HasSubstr("short.tsv.gz: damaged or truncated gzip data"));
  std::string damaged = bytes;
  damaged[damaged.size() / 2] ^= 0x55;
  folder.write("damaged.tsv.gz", damaged);
  EXPECT_NE(error_of(load_text_dataset(folder.file("damaged.tsv.gz"))), "no error");
  LineReaderLimits limits;
  limits.max_total_bytes = 1000;
  auto reader = LineReader::open(folder.file("good.tsv.gz"), limits);
  ASSERT_TRUE(reader.ok());
  std::string line;
  EXPECT_THAT(std::string(reader->next(line).status().message()),
              HasSubstr("over the limit of 1000 decompressed bytes"));
}

TEST(TextDatasetBadInput, Rows) {
  const auto tsv = [](std::string_view content) {
    return error_of(read(content, options_for(DatasetFormat::kTsv)));
  };
  EXPECT_THAT(tsv(""), HasSubstr("data: expected a header line, got an empty file"));
  EXPECT_THAT(tsv("text\tlabel\n"), HasSubstr("expected at least one labelled text"));
  EXPECT_THAT(tsv("text\tx\n"), HasSubstr("data:1: no column 'label'; the header has: text, x"));
  EXPECT_THAT(tsv("text\tlabel\na\t1\nb\n"),
              HasSubstr("data:3: expected 2 fields as in the first row, got 1"));
  EXPECT_THAT(tsv("text\tlabel\na\t1\t2\n"), HasSubstr("data:2: expected 2 fields"));
  EXPECT_THAT(tsv("text\tlabel\na\t\n"), HasSubstr("data:2: the label is empty"));
  EXPECT_THAT(error_of(read("a\tb\n", numbered(DatasetFormat::kTsv, "0", "2"))),
              HasSubstr("data:1: expected a column 2, got 2 fields"));
  EXPECT_THAT(error_of(read("a\tb\n", numbered(DatasetFormat::kTsv, "text", "1"))),
              HasSubstr("column 'text' is a name, but the file is read without a header"));
  TextDatasetOptions options = numbered(DatasetFormat::kTsv, "0", "1");
  options.max_labels = 2;
  EXPECT_THAT(error_of(read("a\t1\nb\t2\nc\t3\n", options)),
              HasSubstr("data:3: over 2 different labels, the last '3'"));
}

TEST(TextDatasetBadInput, Csv) {
  const auto csv = [](std::string_view content) {
    return error_of(read(content, options_for(DatasetFormat::kCsv)));
  };
  EXPECT_THAT(csv("text,label\na,1\n\"open,2\nmore"),
              HasSubstr("data:3: a quoted field is not closed"));
  EXPECT_THAT(csv("text,label\n\"a\"b,1\n"),
              HasSubstr("data:2: field 0: expected a comma after the closing quote, got 'b'"));
  EXPECT_THAT(csv("text,label\n" + std::string(20'000, ',')),
              HasSubstr("data:2: over 10000 fields"));
}

TEST(TextDatasetBadInput, JsonLines) {
  const auto jsonl = [](std::string_view content) {
    return error_of(read(content, options_for(DatasetFormat::kJsonl)));
  };
  EXPECT_THAT(jsonl("{\"text\": \"a\", \"label\": 1}\n{\n"), HasSubstr("data:2: not valid JSON"));
  EXPECT_THAT(jsonl("[]"), HasSubstr("data:1: expected an object, got an array of 0"));
  EXPECT_THAT(jsonl("{\"label\": 1}"), HasSubstr("data:1: 'text' is missing"));
  EXPECT_THAT(jsonl("{\"text\": 5, \"label\": 1}"), HasSubstr("'text': expected a string"));
  EXPECT_THAT(jsonl("{\"text\": \"a\"}"), HasSubstr("data:1: 'label' is missing"));
  EXPECT_THAT(jsonl("{\"text\": \"a\", \"label\": []}"),
              HasSubstr("'label': expected a number, a string or a boolean, got an array"));
}

TEST(TextDatasetBadInput, LinesOverTheLimit) {
  LineReaderLimits limits;
  limits.max_line_bytes = 10;
  const std::string content = "short\n" + std::string(11, 'x') + "\n";
  LineReader reader = LineReader::over(content, "data", limits);
  std::string line;
  EXPECT_TRUE(*reader.next(line));
  EXPECT_THAT(std::string(reader.next(line).status().message()),
              HasSubstr("data:2: a line over the limit of 10 bytes"));
}

TEST(TextDataset, FoldersAsInAclImdb) {
  const TemporaryFolder folder;
  folder.write("train/pos/1_9.txt", "good");
  folder.write("train/pos/0_8.txt", "fine");
  folder.write("train/neg/0_1.txt", "bad\nline");
  folder.write("train/unsup/0_0.txt", "?");
  folder.write("train/labeledBow.feat", "1 2");
  EXPECT_THAT(rows(load_text_dataset(folder.file("train"))),
              ElementsAre("neg:bad\nline", "pos:fine", "pos:good"));
  folder.write("other/b/x.txt", "1");
  folder.write("other/a/x.txt", "2");
  EXPECT_THAT(rows(load_text_dataset(folder.file("other"))), ElementsAre("a:2", "b:1"));
  TextDatasetOptions options;
  options.labels = {"b", "a"};
  EXPECT_THAT(rows(load_text_dataset(folder.file("other"), options)), ElementsAre("b:1", "a:2"));
  options.labels = {"b", "c"};
  EXPECT_THAT(error_of(load_text_dataset(folder.file("other"), options)), HasSubstr("other/c"));
  EXPECT_THAT(error_of(load_text_dataset(folder.file("train/pos"))),
              HasSubstr("expected 1 to 1000 sub-folders"));
}

TEST(TextDatasetBadInput, Paths) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of(load_text_dataset(folder.file("a.parquet"))),
              HasSubstr("the format cannot be told from the name"));
  EXPECT_THAT(error_of(load_text_dataset(folder.file("missing.tsv"))),
              HasSubstr("missing.tsv: No such file"));
}

TEST(SplitDataset, HoldsOutTheSameRowsEveryTime) {
  const auto split = split_dataset(10, 0.3, 42);
  ASSERT_TRUE(split.ok());
  EXPECT_THAT(split->held_out, ElementsAre(0, 4, 6));
  std::vector<std::size_t> all = split->train;
  all.insert(all.end(), split->held_out.begin(), split->held_out.end());
  std::sort(all.begin(), all.end());
  EXPECT_THAT(all, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_NE(split_dataset(1000, 0.5, 1)->held_out, split_dataset(1000, 0.5, 2)->held_out);
}

TEST(SplitDataset, Sizes) {
  EXPECT_EQ(split_dataset(10568, 0.1, 0)->held_out.size(), 1057U);
  EXPECT_EQ(split_dataset(10, 0, 0)->held_out.size(), 0U);
  EXPECT_EQ(split_dataset(2, 0.01, 0)->held_out.size(), 1U);
  EXPECT_EQ(split_dataset(2, 0.99, 0)->held_out.size(), 1U);
  EXPECT_EQ(split_dataset(0, 0.5, 0)->train.size(), 0U);
  EXPECT_FALSE(split_dataset(10, 1, 0).ok());
  EXPECT_FALSE(split_dataset(10, -0.1, 0).ok());
  EXPECT_FALSE(split_dataset(10, std::nan(""), 0).ok());
}

}  // namespace
}  // namespace gamelan::io
