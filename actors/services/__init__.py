"""The services of the voice robot, one package each. They use the public names of `tars.actors`, like any author."""
