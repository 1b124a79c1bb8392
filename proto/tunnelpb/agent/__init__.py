"""What hub and agent say to each other, and what an agent says to its owner."""
