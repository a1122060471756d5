package push

// Forgetful is the same keeper without anything in memory.
func (k *Keeper) Forgetful() *Keeper { return &Keeper{Config: k.Config, rules: k.rules} }
