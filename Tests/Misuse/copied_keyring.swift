// expect: 'keyring' is borrowed and cannot be consumed

import Keys

func f(_ keyring: borrowing RecoveryKeyring) { let copy = keyring; print(copy.recoveryKeyIDs) }
