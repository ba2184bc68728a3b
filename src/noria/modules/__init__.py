"""Heads and front ends: what stands around a recurrent network in an application."""
