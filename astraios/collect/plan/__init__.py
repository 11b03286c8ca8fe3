"""What a sweep asks for, cell by cell: its settings, sizes, memory and cost, before anything is run."""
