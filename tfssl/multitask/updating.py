"""How gradients become an update: clipped, gathered, averaged; the same over one replica and over several."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf


class Updating(keras.optimizers.Optimizer):
    """A Keras optimizer whose updates are right over several replicas and several steps; else Keras's own.

    What Keras 3.15 does by itself, and is done otherwise here:

    - `global_clipnorm` clips what each replica has, before it is summed. Here the sum is clipped, as of one replica
      with all the pictures. Decay of weights is no part of what is clipped.
    - `gradient_accumulation_steps` keeps on each replica what it has itself, of which a checkpoint knows that of the
      first, and branches where a strategy allows no branch. Here sums over replicas are gathered. The mean over the
      steps is clipped, and makes an update; of a moving average too, where Keras averages at each step.
    - Gradients of one replica are summed over replicas, too. TensorFlow (2.21) gives that a gradient of its own, which
      it knows by name for ever, and with it the graph of every model that was ever trained: 50 MB of a small one.
    - `fit` puts the moving average of weights in their place at its end. It may be called in pieces here, of which no
      weight must depend: see `averaging`.
    """

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leave the weights as they are."""

    def _backend_apply_gradients(self, grads: Any, trainable_variables: Any) -> None:
        if not self.gradient_accumulation_steps:
            super()._backend_apply_gradients(grads, trainable_variables)
            return
        pairs = self._summed(zip(grads, trainable_variables, strict=True))

        def gather(strategy: tf.distribute.Strategy, sums: Any) -> None:
            for total, gradient in zip(self._gathered(trainable_variables), sums, strict=True):
                strategy.extended.update(total.value, _add, args=(gradient,), group=False)
            is_last = (self._iterations + 1) % self.gradient_accumulation_steps == 0

            def update() -> None:
                # As Keras's own LossScaleOptimizer does: a branch stands outside of replicas, what is in it inside.
                if tf.distribute.in_cross_replica_context():
                    strategy.extended.call_for_each_replica(self._update_all, args=(trainable_variables,))
                else:
                    self._update_all(trainable_variables)

            tf.cond(is_last, update, lambda: None)

        _outside_of_replicas(gather, self._distribution_strategy, [gradient for gradient, _ in pairs])

    def _update_all(self, variables: Any) -> None:
        """Update variables by the mean of what was gathered, and begin anew."""
        gathered = self._gathered(variables)
        means = [total.value / self.gradient_accumulation_steps for total in gathered]
        pairs = self._clipped([(mean, variable.value) for mean, variable in zip(means, variables, strict=True)])
        self._apply_weight_decay(variables)
        update = self._distributed_tf_update_step
        _outside_of_replicas(update, self._distribution_strategy, pairs, self.learning_rate)
        for total in gathered:
            total.assign(tf.zeros_like(total.value))
        if self.use_ema:
            self._update_model_variables_moving_average(self._trainable_variables)

    def _gathered(self, variables: Any) -> list[keras.Variable]:
        return [self._accumulated_gradients[self._get_variable_index(variable)] for variable in variables]

    def _clip_gradients(self, grads: Any) -> Any:
        return grads  # of one replica

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return self._clipped(self._summed(grads_and_vars))

    def _summed(self, pairs: Iterable[tuple[Any, Any]]) -> Sequence[tuple[Any, Any]]:
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync == 1:
            return list(pairs)
        return super()._all_reduce_sum_gradients(pairs)

    def _clipped(self, pairs: Sequence[tuple[Any, Any]]) -> Sequence[tuple[Any, Any]]:
        if self.global_clipnorm is None:
            return pairs
        gradients, variables = zip(*pairs, strict=True)
        clipped, _ = tf.clip_by_global_norm(gradients, self.global_clipnorm)
        return list(zip(clipped, variables, strict=True))


def _add(variable: tf.Variable, value: tf.Tensor) -> None:
    variable.assign_add(value)


def _outside_of_replicas(function: Any, strategy: tf.distribute.Strategy, *arguments: Any) -> None:
    """Call with the strategy, and with what all replicas gave, where it has more than one."""
    tf.__internal__.distribute.interim.maybe_merge_call(function, strategy, *arguments)
