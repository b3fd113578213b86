#pragma once

#include <memory>
#include <string>

#include "dist/store/store.h"

namespace gamelan::dist {

/// A view of another store in which every key begins with "prefix/": several groups share one store
/// without seeing each other's keys. Prefixes nest. num_keys counts the keys of the whole
/// underlying store.
class PrefixStore : public Store {
 public:
  PrefixStore(std::string prefix, std::shared_ptr<Store> underlying)
      : prefix_(std::move(prefix)), underlying_(std::move(underlying)) {}
  ~PrefixStore() override = default;

  base::StatusOr<StoreReply> execute(const StoreRequest& request,
                                     std::chrono::milliseconds timeout) override;

  const std::string& prefix() const { return prefix_; }
  /// The store this is a view of, which may be a PrefixStore too.
  const std::shared_ptr<Store>& underlying() const { return underlying_; }
  /// The first store below that is no PrefixStore.
  std::shared_ptr<Store> innermost() const;

 private:
  const std::string prefix_;
  const std::shared_ptr<Store> underlying_;
};

}  // namespace gamelan::dist
