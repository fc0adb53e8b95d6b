import sys
from pathlib import Path

# programs, models and generators that the tests of the interpreter keep
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "isa" / "semantics"))
