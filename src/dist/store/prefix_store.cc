#include "dist/store/prefix_store.h"

namespace gamelan::dist {

base::StatusOr<StoreReply> PrefixStore::execute(const StoreRequest& request,
                                                std::chrono::milliseconds timeout) {
  StoreRequest prefixed = request;
  for (std::string& key : prefixed.keys) {
    key.insert(0, prefix_ + "/");
  }
  return underlying_->execute(prefixed, timeout);
}

std::shared_ptr<Store> PrefixStore::innermost() const {
  std::shared_ptr<Store> store = underlying_;
  while (const auto* view = dynamic_cast<const PrefixStore*>(store.get())) {
    store = view->underlying_;
  }
  return store;
}

}  // namespace gamelan::dist
