"""What all optimizers are made of: options, rules, groups of parameters and a step."""
