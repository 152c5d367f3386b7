"""From what is watched to what is done: the store, the queue, the loop and the execution of plans."""
