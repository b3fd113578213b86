#include "io/pickle_reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <unordered_map>

#include "io/byte_reader.h"

namespace gamelan::io {
namespace {

// A model of 100,000 tensors has about 2.5 million values. A value takes 72 bytes here and at least
// one in the file, so the limit bounds what a hostile file can make us take.
constexpr std::size_t kMaxValues = std::size_t{1} << 22;
constexpr std::uint64_t kMaxMemo = std::uint64_t{1} << 22;
constexpr std::size_t kMaxNameBytes = 200;

}  // namespace

/// The stack machine that a pickle is a program for. One opcode a call of `step`.
class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, std::string_view name, Pickle& out)
      : reader_(bytes), bytes_(bytes), name_(name), out_(out) {}

  base::Status run() {
    while (!stopped_) {
      const std::size_t at = reader_.offset();
      const auto opcode = reader_.read<std::uint8_t>();
      if (!reader_.ok()) {
        return base::data_loss("{}: truncated: the pickle ends without its end mark", name_);
      }
      step(opcode);
      if (!reader_.ok()) {
        return base::data_loss("{}: truncated: the pickle ends inside the opcode at byte {}", name_,
                               at);
      }
      if (!error_.empty()) {
        return base::invalid_argument("{}: pickle, opcode {:#04x} at byte {}: {}", name_, opcode,
                                      at, error_);
      }
      if (out_.values_.size() > kMaxValues) {
        return base::invalid_argument("{}: pickle with over {} values", name_, kMaxValues);
      }
    }
    out_.size_ = reader_.offset();
    return base::OkStatus();
  }

 private:
  void fail(std::string text) {
    if (error_.empty()) {
      error_ = std::move(text);
    }
  }

  void push(PickleValue value) {
    out_.values_.push_back(std::move(value));
    stack_.push_back(static_cast<PickleRef>(out_.values_.size() - 1));
  }
  void push_int(std::int64_t value) { push({.kind = PickleKind::kInt, .integer = value}); }
  void push_text(PickleKind kind, std::string_view text) { push({.kind = kind, .text = text}); }

  /// The first place of the stack that belongs to the innermost MARK, or the stack's own.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleRef pop() {
    if (stack_.size() <= floor()) {
      fail("the stack is empty");
      return 0;
    }
    const PickleRef ref = stack_.back();
    stack_.pop_back();
    return ref;
  }
  PickleValue* top() {
    if (stack_.size() <= floor()) {
      fail("the stack is empty");
      return nullptr;
    }
    return &out_.values_[stack_.back()];
  }
  /// What lies above the last MARK, which goes too.
  std::vector<PickleRef> pop_mark() {
    if (marks_.empty()) {
      fail("there is no mark");
      return {};
    }
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }

  void push_tuple(std::size_t count) {
    std::vector<PickleRef> items(count);
    for (std::size_t i = count; i-- > 0;) {
      items[i] = pop();
    }
    push({.kind = PickleKind::kTuple, .items = std::move(items)});
  }

  void remember(std::uint64_t key) {
    if (key >= kMaxMemo) {
      fail(fmt::format("memo {} is over the limit of {}", key, kMaxMemo));
    } else if (top() != nullptr) {
      memo_[key] = stack_.back();
    }
  }
  void recall(std::uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) {
      fail(fmt::format("memo {} was never set", key));
    } else {
      stack_.push_back(found->second);
    }
  }

  /// Appends to the container below `items`.
  void extend(PickleKind kind, const std::vector<PickleRef>& items) {
    PickleValue* container = top();
    if (container == nullptr) {
      return;
    }
    if (container->kind != kind) {
      fail(fmt::format("expected {} to add to, got {}",
                       kind == PickleKind::kDict ? "a dict" : "a list", describe(*container)));
    } else if (kind == PickleKind::kDict && items.size() % 2 != 0) {
      fail("a key without a value");
    } else {
      container->items.insert(container->items.end(), items.begin(), items.end());
    }
  }

  /// A line of text without its newline.
  std::string_view line() {
    const std::size_t start = reader_.offset();
    const auto rest = bytes_.subspan(start);
    const auto end =
        std::find(rest.begin(),
                  rest.begin() + static_cast<std::ptrdiff_t>(std::min(rest.size(), kMaxNameBytes)),
                  std::byte{'\n'});
    const auto length = static_cast<std::uint64_t>(end - rest.begin());
    const std::string_view text = reader_.text(length);
    if (reader_.read<char>() != '\n') {
      fail("a name without an end");
    }
    return text;
  }

  void push_global(std::string_view module, std::string_view name) {
    std::vector<char> text(module.begin(), module.end());
    text.push_back(' ');
    text.insert(text.end(), name.begin(), name.end());
    out_.texts_.push_back(std::move(text));
    push_text(PickleKind::kGlobal, {out_.texts_.back().data(), out_.texts_.back().size()});
  }
  void stack_global() {
    const PickleRef name = pop();
    const PickleRef module = pop();
    if (!error_.empty()) {
      return;
    }
    if (out_.at(name).kind != PickleKind::kString || out_.at(module).kind != PickleKind::kString ||
        out_.at(name).text.size() + out_.at(module).text.size() > kMaxNameBytes) {
      fail("expected the names of a module and of something in it");
      return;
    }
    push_global(out_.at(module).text, out_.at(name).text);
  }

  void call() {
    const PickleRef arguments = pop();
    const PickleRef function = pop();
    if (!error_.empty()) {
      return;
    }
    if (out_.at(function).kind != PickleKind::kGlobal ||
        out_.at(arguments).kind != PickleKind::kTuple) {
      fail(fmt::format("expected a name and its arguments, got {} and {}",
                       describe(out_.at(function)), describe(out_.at(arguments))));
      return;
    }
    if (out_.at(function).text == "collections OrderedDict" && out_.at(arguments).items.empty()) {
      push({.kind = PickleKind::kDict});
      return;
    }
    push({.kind = PickleKind::kCall, .items = {function, arguments}});
  }

  /// State of an object: that of a dict (`_metadata` of a state dict) is dropped.
  void build() {
    pop();
    const PickleValue* object = top();
    if (object != nullptr && object->kind != PickleKind::kDict) {
      fail(fmt::format("expected the state of a dict, got that of {}", describe(*object)));
    }
  }

  void push_long(std::uint64_t length) {
    const std::string_view text = reader_.text(length);
    if (length > 8) {
      push_text(PickleKind::kBigInt, text);
      return;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      value |= std::uint64_t{static_cast<std::uint8_t>(text[i])} << (8 * i);
    }
    if (!text.empty() && text.size() < 8 && (static_cast<std::uint8_t>(text.back()) & 0x80U) != 0) {
      value |= ~std::uint64_t{0} << (8 * text.size());  // two's complement
    }
    push_int(static_cast<std::int64_t>(value));
  }

  void push_float() {
    std::uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) {  // big-endian, alone in all of pickle
      bits = (bits << 8) | reader_.read<std::uint8_t>();
    }
    push({.kind = PickleKind::kFloat, .number = std::bit_cast<double>(bits)});
  }

  void step(std::uint8_t opcode);
  bool step_scalar(std::uint8_t opcode);
  bool step_container(std::uint8_t opcode);

  ByteReader reader_;
  std::span<const std::byte> bytes_;
  std::string_view name_;
  Pickle& out_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleRef> memo_;
  std::string error_;
  bool stopped_ = false;
};

bool PickleMachine::step_scalar(std::uint8_t opcode) {
  switch (opcode) {
    case 'N':
      push({});
      return true;
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      push({.kind = PickleKind::kBool, .integer = opcode == 0x88});
      return true;
    case 'J':
      push_int(reader_.read<std::int32_t>());
      return true;
    case 'K':
      push_int(reader_.read<std::uint8_t>());
      return true;
    case 'M':
      push_int(reader_.read<std::uint16_t>());
      return true;
    case 0x8a:  // LONG1
      push_long(reader_.read<std::uint8_t>());
      return true;
    case 'G':
      push_float();
      return true;
    case 'X':  // BINUNICODE
    case 'T':  // BINSTRING
      push_text(PickleKind::kString, reader_.text(reader_.read<std::uint32_t>()));
      return true;
    case 'U':   // SHORT_BINSTRING
    case 0x8c:  // SHORT_BINUNICODE
      push_text(PickleKind::kString, reader_.text(reader_.read<std::uint8_t>()));
      return true;
    default:
      return false;
  }
}

bool PickleMachine::step_container(std::uint8_t opcode) {
  switch (opcode) {
    case '(':
      marks_.push_back(stack_.size());
      return true;
    case ')':
      push_tuple(0);
      return true;
    case 0x85:  // TUPLE1
    case 0x86:
    case 0x87:
      push_tuple(opcode - 0x84U);
      return true;
    case 't': {
      std::vector<PickleRef> items = pop_mark();
      push({.kind = PickleKind::kTuple, .items = std::move(items)});
      return true;
    }
    case '}':
      push({.kind = PickleKind::kDict});
      return true;
    case ']':
      push({.kind = PickleKind::kList});
      return true;
    case 's': {
      const PickleRef value = pop();
      const PickleRef key = pop();
      extend(PickleKind::kDict, {key, value});
      return true;
    }
    case 'u':
      extend(PickleKind::kDict, pop_mark());
      return true;
    case 'a':
      extend(PickleKind::kList, {pop()});
      return true;
    case 'e':
      extend(PickleKind::kList, pop_mark());
      return true;
    default:
      return false;
  }
}

void PickleMachine::step(std::uint8_t opcode) {
  if (step_scalar(opcode) || step_container(opcode)) {
    return;
  }
  switch (opcode) {
    case 0x80:  // PROTO
      if (const auto protocol = reader_.read<std::uint8_t>(); protocol > 5) {
        fail(fmt::format("protocol {} is not known", protocol));
      }
      return;
    case 0x95:  // FRAME
      reader_.take(8);
      return;
    case 'q':
      remember(reader_.read<std::uint8_t>());
      return;
    case 'r':
      remember(reader_.read<std::uint32_t>());
      return;
    case 0x94:  // MEMOIZE
      remember(memo_.size());
      return;
    case 'h':
      recall(reader_.read<std::uint8_t>());
      return;
    case 'j':
      recall(reader_.read<std::uint32_t>());
      return;
    case 'c': {
      const std::string_view module = line();
      push_global(module, line());
      return;
    }
    case 0x93:  // STACK_GLOBAL
      stack_global();
      return;
    case 'Q': {  // BINPERSID
      const PickleRef id = pop();
      push({.kind = PickleKind::kPersistent, .items = {id}});
      return;
    }
    case 'R':
      call();
      return;
    case 'b':
      build();
      return;
    case '.':
      out_.root_ = pop();
      stopped_ = true;
      return;
    default:
      fail("not among the opcodes of a tensor archive");
  }
}

base::StatusOr<Pickle> Pickle::parse(std::span<const std::byte> bytes, std::string_view name) {
  Pickle pickle;
  PickleMachine machine(bytes, name, pickle);
  GAMELAN_RETURN_IF_ERROR(machine.run());
  return pickle;
}

std::string describe(const PickleValue& value) {
  switch (value.kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return value.integer != 0 ? "True" : "False";
    case PickleKind::kInt:
      return fmt::format("the number {}", value.integer);
    case PickleKind::kBigInt:
      return "a large number";
    case PickleKind::kFloat:
      return fmt::format("the number {}", value.number);
    case PickleKind::kString:
      return fmt::format("the string '{}'", value.text.substr(0, 60));
    case PickleKind::kTuple:
      return fmt::format("a tuple of {}", value.items.size());
    case PickleKind::kList:
      return fmt::format("a list of {}", value.items.size());
    case PickleKind::kDict:
      return fmt::format("a dict of {}", value.items.size() / 2);
    case PickleKind::kGlobal: {
      std::string name(value.text);
      std::replace(name.begin(), name.end(), ' ', '.');
      return "the name " + name;
    }
    case PickleKind::kPersistent:
      return "a storage";
    case PickleKind::kCall:
      break;
  }
  return "a call";
}

}  // namespace gamelan::io
