"""Watches, gyms, profiles and workouts."""
