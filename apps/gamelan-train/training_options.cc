#include "gamelan-train/training_options.h"

namespace gamelan::apps {

void add_training_options(CLI::App& app, train::TrainingArguments& t) {
  app.add_option("--num-train-epochs", t.num_train_epochs)->capture_default_str();
  app.add_option("--max-steps", t.max_steps, "End after N steps; -1: the epochs decide")
      ->capture_default_str();
  app.add_option("--per-device-train-batch-size,--batch-size", t.per_device_train_batch_size,
                 "Samples of one process in one micro-batch")
      ->capture_default_str();
  app.add_option("--gradient-accumulation-steps", t.gradient_accumulation_steps,
                 "Micro-batches of one optimizer step")
      ->capture_default_str();
  app.add_option("--learning-rate", t.learning_rate)->capture_default_str();
  app.add_option("--weight-decay", t.weight_decay, "Not of biases and LayerNorms")
      ->capture_default_str();
  app.add_option("--adam-beta1", t.adam_beta1)->capture_default_str();
  app.add_option("--adam-beta2", t.adam_beta2)->capture_default_str();
  app.add_option("--adam-epsilon", t.adam_epsilon)->capture_default_str();
  app.add_option("--max-grad-norm", t.max_grad_norm, "Clip the gradient to this norm; 0: do not")
      ->capture_default_str();
  app.add_option("--lr-scheduler-type", t.lr_scheduler_type, "linear or constant")
      ->capture_default_str();
  app.add_option("--warmup-ratio", t.warmup_ratio, "Warm-up as a part of all steps")
      ->capture_default_str();
  app.add_option("--warmup-steps", t.warmup_steps, "Warm-up in steps; 0: --warmup-ratio decides")
      ->capture_default_str();
  app.add_option("--seed", t.seed)->capture_default_str();
  app.add_flag("--bf16", t.bf16, "Matrix products in bfloat16; weights stay in fp32");
}

void add_output_options(CLI::App& app, train::TrainingArguments& t, OutputOptions& o) {
  app.add_option("--output-dir", t.output_dir,
                 "Where the model and the snapshots go; the same command typed again continues");
  app.add_flag("--overwrite-output-dir", t.overwrite_output_dir, "Begin anew");
  app.add_option("--logging-steps", t.logging_steps, "Print the loss every N steps; 0: per epoch")
      ->capture_default_str();
  app.add_option("--save-steps", t.save_steps, "Snapshot every N steps; 0: after epochs alone")
      ->capture_default_str();
  app.add_option("--save-epochs", t.save_epochs, "Snapshot every N epochs; 0: none")
      ->capture_default_str();
  app.add_option("--save-total-limit", t.save_total_limit, "Snapshots that are kept; 0: all")
      ->capture_default_str();
  app.add_flag("--disable-tqdm", t.disable_tqdm, "No progress bar");
  app.add_flag("--init-only", o.init_only,
               "Write the model as training would begin with to --output-dir and end");
  app.add_flag("--json", o.json, "Print the final figures as one JSON object on the last line");
}

void add_process_options(CLI::App& app, ProcessOptions& o) {
  app.add_option("--backend,--ddp-backend", o.backend, "Collectives: cpu (gloo) or tcp")
      ->capture_default_str();
  app.add_option("--ddp-bucket-cap-mb", o.bucket_cap_mb, "Size of gradient buckets")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--ddp-timeout", o.ddp_timeout_seconds, "Seconds a process waits for the others")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", o.threads, "Threads of this process (default: OMP_NUM_THREADS)")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace gamelan::apps
