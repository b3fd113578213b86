#pragma once

// Every use of LibTorch that is not its documented C++ API, or that differs between its versions
// (2.7 to 2.15), is in this header and nowhere else.

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/node.h>
#include <torch/csrc/autograd/variable.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace gamelan::train {

/// A node of the autograd graph.
using GraphNode = torch::autograd::Node;
/// shared_ptr<Node> before 2.12, intrusive_ptr<Node> after.
using GraphNodePtr =
    decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>()));

/// The node that adds gradients to `parameter.grad()`. A parameter holds it weakly: hooks on it
/// live only as long as somebody keeps this pointer.
inline GraphNodePtr gradient_accumulator(const at::Tensor& parameter) {
  return torch::autograd::impl::grad_accumulator(parameter);
}

/// Calls `hook` whenever `node` has run in a backward pass, on the thread of that pass. Returns the
/// key for remove_post_hook.
inline std::uintptr_t add_post_hook(GraphNode& node, std::function<void()> hook) {
  class Hook : public torch::autograd::FunctionPostHook {
   public:
    explicit Hook(std::function<void()> hook) : hook_(std::move(hook)) {}
    torch::autograd::variable_list operator()(
        const torch::autograd::variable_list& outputs,
        const torch::autograd::variable_list& /*inputs*/) override {
      hook_();
      return outputs;
    }

   private:
    std::function<void()> hook_;
  };
  return node.add_post_hook(std::make_unique<Hook>(std::move(hook)));
}
inline void remove_post_hook(GraphNode& node, std::uintptr_t key) {
  node.del_post_hook(key);
}

/// Calls `hook` whenever a backward pass is about to run `node`. It stays as long as the node.
inline void add_pre_hook(GraphNode& node, std::function<void()> hook) {
  class Hook : public torch::autograd::FunctionPreHook {
   public:
    explicit Hook(std::function<void()> hook) : hook_(std::move(hook)) {}
    torch::autograd::variable_list operator()(
        const torch::autograd::variable_list& grads) override {
      hook_();
      return grads;
    }

   private:
    std::function<void()> hook_;
  };
  node.add_pre_hook(std::make_unique<Hook>(std::move(hook)));
}

// The rest is about the backward pass that the calling hook is part of.

/// Calls `callback` after the last node, before `backward()` returns. When the pass ends with an
/// exception the callback is destroyed without having been called, while the exception is on its
/// way.
inline void at_end_of_backward(std::function<void()> callback) {
  torch::autograd::Engine::get_default_engine().queue_callback(std::move(callback));
}

/// Whether the pass, started from its roots, comes to `node`.
inline bool backward_reaches(const GraphNode* node) {
  const auto* nodes = torch::autograd::get_current_graph_task_nodes_in_graph();
  return nodes != nullptr && nodes->count(const_cast<GraphNode*>(node)) != 0;
}

/// Whether only some gradients were asked for: `autograd::grad`, or `backward` with inputs. Such a
/// pass does not run every node it reaches.
inline bool backward_is_partial() {
  const auto* info = torch::autograd::get_current_graph_task_exec_info();
  return info != nullptr && !info->empty();
}

}  // namespace gamelan::train
