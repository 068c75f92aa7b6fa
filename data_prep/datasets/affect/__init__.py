"""MOSI, MOSEI, UR-FUNNY and MUStARD, as MultiBench publishes them."""
