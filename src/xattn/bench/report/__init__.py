"""A benchmark as one page: ladder, roofline, stages, accuracy, and each kernel's pipeline (extra `report`)."""
