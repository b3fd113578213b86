#include "dist/transport/control_output.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace gamelan::dist {
namespace {

std::string frame_bytes(const FrameHeader& header, std::string_view payload) {
  const auto head = encode_frame(header);
  std::string bytes(reinterpret_cast<const char*>(head.data()), head.size());
  bytes.append(payload);
  return bytes;
}

}  // namespace

void ControlOutput::add(const FrameHeader& header, std::string payload, int fd) {
  FrameHeader complete = header;
  complete.payload_bytes = static_cast<std::uint32_t>(payload.size());
  Frame frame;
  frame.bytes = frame_bytes(complete, payload);
  frame.fd = fd;
  const base::MutexLock lock(mutex_);
  frames_.push_back(std::move(frame));
}

void ControlOutput::add_parts(std::uint64_t number, const std::byte* data, std::size_t bytes,
                              SendDone done) {
  const base::MutexLock lock(mutex_);
  messages_.push_back({number, data, bytes, std::move(done)});
}

bool ControlOutput::empty() const {
  const base::MutexLock lock(mutex_);
  return broken_ || (!sending_ && frames_.empty() && messages_.empty());
}

bool ControlOutput::next_frame() {
  if (!frames_.empty()) {
    current_ = std::move(frames_.front());
    frames_.pop_front();
    return true;
  }
  if (messages_.empty()) {
    return false;
  }
  Message& message = messages_.front();
  FrameHeader header;
  header.type = FrameType::kPart;
  header.number = message.number;
  const std::size_t bytes = std::min(message.left, kMaxFramePayloadBytes);
  header.payload_bytes = static_cast<std::uint32_t>(bytes);
  current_ = Frame{};
  current_.bytes = frame_bytes(header, {});
  current_.part = message.data;
  current_.part_bytes = bytes;
  message.data += bytes;
  message.left -= bytes;
  if (message.left == 0) {
    current_.done = std::move(message.done);
    messages_.pop_front();
  }
  return true;
}

bool ControlOutput::send_some() {
  std::array<iovec, 2> pieces{};
  std::size_t count = 0;
  const std::size_t head = current_.bytes.size();
  if (current_.sent < head) {
    pieces[count++] = {current_.bytes.data() + current_.sent, head - current_.sent};
  }
  if (current_.part_bytes > 0) {
    const std::size_t skip = current_.sent > head ? current_.sent - head : 0;
    pieces[count++] = {const_cast<std::byte*>(current_.part) + skip, current_.part_bytes - skip};
  }
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (current_.fd >= 0 && current_.sent == 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &current_.fd, sizeof(int));
  }
  const ssize_t sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) {
    current_.sent += static_cast<std::size_t>(sent);
    return true;
  }
  if (errno == EINTR) {
    return true;
  }
  if (errno != EAGAIN && errno != EWOULDBLOCK) {
    broken_ = true;  // the loop learns why when it reads
  }
  return false;
}

bool ControlOutput::flush() {
  std::vector<SendDone> finished;
  bool left = false;
  {
    const base::MutexLock lock(mutex_);
    while (!broken_) {
      if (!sending_) {
        sending_ = next_frame();
        if (!sending_) {
          break;
        }
      }
      if (!send_some()) {
        left = !broken_;
        break;
      }
      if (current_.sent == current_.bytes.size() + current_.part_bytes) {
        sending_ = false;
        if (current_.done) {
          finished.push_back(std::move(current_.done));
        }
        current_ = Frame{};
      }
    }
  }
  for (const SendDone& done : finished) {
    done(base::OkStatus());
  }
  return left;
}

void ControlOutput::cancel_parts(const base::Status& reason) {
  std::vector<SendDone> finished;
  {
    const base::MutexLock lock(mutex_);
    for (Message& message : messages_) {
      finished.push_back(std::move(message.done));
    }
    // A message whose first part is on its way is still in the queue or, at its last part, in
    // current_.
    messages_.clear();
    if (sending_ && current_.part_bytes > 0) {
      // The frame must still end where its header said: keep a copy of the bytes, not the memory.
      current_.bytes.append(reinterpret_cast<const char*>(current_.part), current_.part_bytes);
      current_.part = nullptr;
      current_.part_bytes = 0;
      if (current_.done) {
        finished.push_back(std::exchange(current_.done, nullptr));
      }
    }
  }
  for (const SendDone& done : finished) {
    done(reason);
  }
}

}  // namespace gamelan::dist
