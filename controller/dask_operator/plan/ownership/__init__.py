"""What a cluster owns: its children, their owner references, and objects taken over from other operators."""
