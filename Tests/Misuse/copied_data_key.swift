// expect: 'key' is borrowed and cannot be consumed

import Keys

func f(_ key: borrowing DataKey) { let copy = key; print(copy.id) }
