#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/row_reader.h"

namespace gamelan::io {

/// A text and the class it belongs to.
struct TextExample {
  std::string text;  // valid UTF-8
  std::int64_t label = 0;
};

/// Texts with their classes. Plain data.
struct TextDataset {
  std::vector<TextExample> examples;
  /// labels[i] is the name of class i.
  std::vector<std::string> labels;
};

enum class DatasetFormat : std::uint8_t {
  kAuto,    // by the path: a folder, .tsv, .csv, .jsonl or .json, each with .gz as well; .txt = TSV
  kFolder,  // PATH/CLASS/*.txt, one text a file (aclImdb's train and test)
  kTsv,
  kCsv,
  kJsonl,
};

enum class LabelTransform : std::uint8_t {
  kNone,  // the label is the class: a name or a whole number
  kSign,  // the label is a number: below 0 is class "negative", above is "positive", 0 is left out
};

struct TextDatasetOptions {
  DatasetFormat format = DatasetFormat::kAuto;
  /// Names of the columns (JSONL: keys), or numbers from 0; without a header numbers only.
  RowColumns columns;
  /// The first row of TSV or CSV holds the names of the columns.
  bool has_header = true;
  LabelTransform label_transform = LabelTransform::kNone;
  /// The classes in their order; other labels are a mistake. Empty = those that occur: by value
  /// when all are whole numbers, else by name. Give an evaluation set the classes of its training
  /// set.
  std::vector<std::string> labels;
  /// More classes than this mean that the wrong column was chosen.
  std::size_t max_labels = 1000;
};

/// Reads a labelled data set. Texts that are no UTF-8 are read as Python does with
/// errors="replace". A folder holds one sub-folder a class: neg and pos when both are there, else
/// all of them but unsup, by name; files are taken in the order of their names. Errors name file
/// and line, what was expected and what came.
base::StatusOr<TextDataset> load_text_dataset(std::string_view path,
                                              const TextDatasetOptions& options = {});

/// The same over lines in memory or anywhere else; `options.format` is TSV, CSV or JSONL.
base::StatusOr<TextDataset> read_text_dataset(LineReader lines, const TextDatasetOptions& options);

/// Row numbers of the two parts of a data set, each ascending.
struct DatasetSplit {
  std::vector<std::size_t> train;
  std::vector<std::size_t> held_out;
};

/// Holds out round(size * fraction) rows, but neither none nor all when 0 < fraction < 1 and size
/// >= 2: the first ones of a Fisher-Yates shuffle by std::mt19937_64(seed), which is the same
/// everywhere. Fails unless 0 <= fraction < 1.
base::StatusOr<DatasetSplit> split_dataset(std::size_t size, double fraction, std::uint64_t seed);

}  // namespace gamelan::io
