// expect: cannot convert value of type '[Lease]' to expected argument type '[Acknowledgement]'

import SQS

func f(_ client: inout QueueClient, _ batch: borrowing DeliveryBatch) { _ = client.delete(batch.leases) }
