"""Terms and layers of supervised methods, in NumPy and float64."""

import numpy as np


def log_softmax(x):
  x = np.asarray(x, np.float64)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def cross_entropy(logits, label):
  return -np.take_along_axis(log_softmax(logits), np.asarray(label)[:, None], 1).mean()


def dense(params, x):
  return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def trunk(params, vectors):
  return np.maximum(dense(params["trunk"]["layer1"], np.concatenate(vectors, 1)), 0)


def fuse(params, vectors):
  """The logits of the MLP trunk and the class head on the vectors of all modalities."""
  return dense(params["head"]["scores"], trunk(params, vectors))


def divergence(logits):
  """The mean of KL(q || uniform) = sum_y q log q + log classes, in nats."""
  log_q = log_softmax(logits)
  return (np.exp(log_q) * log_q).sum(1).mean() + np.log(log_q.shape[1])
