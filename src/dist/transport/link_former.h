#pragma once

#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "dist/store/store.h"
#include "dist/transport/transport.h"

namespace gamelan::dist {

/// The two connections to one peer; both invalid for the rank itself.
struct Link {
  PeerInfo peer;
  base::Fd control;
  base::Fd data;
};

/// What all ranks have agreed on.
struct FormedLinks {
  std::vector<Link> links;  ///< by rank
  bool one_host = false;    ///< every pair of ranks has reached each other over a Unix socket
  bool crowded = false;     ///< the ranks of this host outnumber their CPUs
};

/// Meets the other ranks in the store and connects to each of them; see Transport::form.
base::StatusOr<FormedLinks> form_links(const std::shared_ptr<Store>& store,
                                       const TransportOptions& options);

}  // namespace gamelan::dist
