"""The methods of every module, one mixin without state for each system they come from."""
