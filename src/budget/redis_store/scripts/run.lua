return Ledger.run()
